import type { BlobStorage, DocumentStorage, RegistryStorage, UploadStorage } from './storage.ts';

export interface StorageParts extends Pick<RegistryStorage, 'title' | 'sweep' | 'check' | 'close'> {
  documents: DocumentStorage;
  blobs: BlobStorage;
  uploads: UploadStorage;
}

/** One storage of its three. */
export function composeStorage({ documents, blobs, uploads, ...rest }: StorageParts): RegistryStorage {
  return {
    ...rest,
    readDocument: (key) => documents.readDocument(key),
    writeDocument: (key, bytes, options) => documents.writeDocument(key, bytes, options),
    deleteDocument: (key, options) => documents.deleteDocument(key, options),
    listDocuments: (prefix, options) => documents.listDocuments(prefix, options),
    statBlob: (digest) => blobs.statBlob(digest),
    openBlob: (digest, range) => blobs.openBlob(digest, range),
    putBlob: (digest, bytes) => blobs.putBlob(digest, bytes),
    removeBlob: (digest, version) => blobs.removeBlob(digest, version),
    listBlobs: (options) => blobs.listBlobs(options),
    createUpload: (repository) => uploads.createUpload(repository),
    statUpload: (id) => uploads.statUpload(id),
    appendUpload: (id, offset, source, done) => uploads.appendUpload(id, offset, source, done),
    readUpload: (id) => uploads.readUpload(id),
    publishUpload: (id, digest, size) => uploads.publishUpload(id, digest, size),
    discardUpload: (id) => uploads.discardUpload(id),
    listUploads: (options) => uploads.listUploads(options),
  };
}
