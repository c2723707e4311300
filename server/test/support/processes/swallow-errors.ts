// A fault to be planted with `--import`: what the disk refused is answered as if it had been taken.
import { GroupWriter } from '../../../src/queue/writer.ts';

// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const { accept } = GroupWriter.prototype;
GroupWriter.prototype.accept = function acceptAnyhow(this: GroupWriter, unit) {
  return accept.call(this, unit).catch(() => ({ kind: 'accepted', entries: [] }));
};
