// A fault to be planted with `--import`: a request is stored destination by destination, each in a commit of its own.
import type { AcceptResult, AcceptUnit } from '../../../src/core/ports.ts';
import { newUid } from '../../../src/core/transid.ts';
import { GroupWriter } from '../../../src/queue/writer.ts';

// oxlint-disable-next-line typescript/unbound-method -- called with its own `this` below
const { accept } = GroupWriter.prototype;
GroupWriter.prototype.accept = async function acceptInPieces(
  this: GroupWriter,
  unit: AcceptUnit,
): Promise<AcceptResult> {
  for (const destination of unit.destinations) {
    const result = await accept.call(this, { ...unit, uid: newUid(), destinations: [destination] });
    if (result.kind !== 'accepted') return result;
  }
  return { kind: 'accepted', entries: [] };
};
