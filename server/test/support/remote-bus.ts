import { MemoryBus } from '../../src/bus/memory.ts';
import type { RemoteBus } from '../../src/bus/polled.ts';

/** Stands for the bus between nodes: what is published on it directly comes "from the network". */
export class FakeRemoteBus extends MemoryBus implements RemoteBus {
  isConnected = true;
  private readonly listeners = new Set<(isConnected: boolean) => void>();

  onConnection(listener: (isConnected: boolean) => void): () => void {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  }

  become(isConnected: boolean): void {
    this.isConnected = isConnected;
    for (const listener of [...this.listeners]) listener(isConnected);
  }
}
