/** What a reader accepts from an archive it does not trust. */
export interface TarLimits {
  /** Bytes of one PAX or GNU long-name body; also of all global PAX records together. */
  extension: number;
  /** Extended attributes of one member. */
  xattrs: number;
  /** Segments of one sparse file. */
  sparseSegments: number;
}

export const TAR_LIMITS: TarLimits = { extension: 1 << 20, xattrs: 1024, sparseSegments: 1 << 18 };
