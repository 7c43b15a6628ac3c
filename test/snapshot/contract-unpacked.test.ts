import { snapshotContract } from '../contracts/snapshot.ts';

snapshotContract('unpacked');
