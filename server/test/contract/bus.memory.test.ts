import { MemoryBus } from '../../src/bus/memory.ts';
import { busSuite } from './bus.ts';

busSuite('memory', () => {
  const bus = new MemoryBus();
  return Promise.resolve({
    here: bus,
    there: bus,
    settled: () => Promise.resolve(),
    close: () => bus.close(),
  });
});
