import { SciStreamError } from '../errors.js';
import { isFinal, type StreamRecord, type StreamStore } from '../stream-store.js';

/** Records of ended streams that are remembered for `status` and `ls`; the oldest go first. */
const REMEMBERED = 1000;

/** Keeps records as long as the process lives. */
export class MemoryStreamStore implements StreamStore {
  readonly #records = new Map<string, StreamRecord>();

  async create(record: StreamRecord): Promise<void> {
    const known = this.#records.get(record.uid);
    if (known && !isFinal(known.state)) {
      throw new SciStreamError('SCI_STREAM_EXISTS', `Stream ${record.uid} exists already.`, {
        suggestions: ['Use a new uid, or release the stream first.'],
      });
    }
    this.#records.delete(record.uid);
    this.#records.set(record.uid, record);
  }

  async get(uid: string): Promise<StreamRecord | undefined> {
    return this.#records.get(uid);
  }

  async update(uid: string, version: number, change: Partial<StreamRecord>): Promise<StreamRecord> {
    const known = this.#records.get(uid);
    if (!known) throw new SciStreamError('SCI_STREAM_NOT_FOUND', `There is no record of stream ${uid}.`);
    if (known.version !== version) {
      throw new SciStreamError('SCI_STREAM_CONFLICT', `Stream ${uid} is at version ${known.version}, not ${version}.`);
    }
    const record = { ...known, ...change, uid, version: version + 1 };
    this.#records.set(uid, record);
    if (isFinal(record.state)) this.#forgetOldest();
    return record;
  }

  async delete(uid: string): Promise<void> {
    this.#records.delete(uid);
  }

  async list(): Promise<readonly StreamRecord[]> {
    return [...this.#records.values()];
  }

  #forgetOldest(): void {
    const ended = [...this.#records.values()].filter(({ state }) => isFinal(state));
    for (const { uid } of ended.slice(0, Math.max(0, ended.length - REMEMBERED))) this.#records.delete(uid);
  }
}
