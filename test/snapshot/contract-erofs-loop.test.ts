import { snapshotContract } from '../contracts/snapshot.ts';

snapshotContract('erofs-loop');
