// A fault to be planted with `--import`: a request is answered when it was understood, and committed a little later.
import { GroupWriter } from '../../../src/queue/writer.ts';

const LATER_MS = Number(process.env['FAULT_LATER_MS'] ?? 40);

// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const { accept } = GroupWriter.prototype;
GroupWriter.prototype.accept = function acceptEarly(this: GroupWriter, unit) {
  setTimeout(() => void accept.call(this, unit).catch(() => undefined), LATER_MS);
  return Promise.resolve({ kind: 'accepted', entries: [] });
};
