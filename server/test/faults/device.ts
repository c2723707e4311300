import mqtt from 'mqtt';
import type { MqttClient } from 'mqtt';
import { request } from 'undici';
import type { ServerProcess } from '../support/server-process.ts';

/** One message as it reached the device, repeats included. */
export interface Received {
  readonly text: string;
  readonly tid: string;
  /** Its number in the user's log. */
  readonly seq: number;
  readonly expiry: number;
  /** By the wall clock of the test. */
  readonly at: number;
}

const KEEP_SECONDS = 86_400;

/** A device with a kept session that acknowledges what it gets and remembers it; it outlives the server's lives. */
export class Device {
  readonly user: string;
  readonly received: Received[] = [];
  /** Numbers of the log that arrived, state events included. */
  readonly numbers = new Set<number>();
  /** Texts that arrived. */
  readonly texts = new Set<string>();
  /** Reasons of the server for ending the connection. */
  readonly disconnects: number[] = [];
  /** Something arrived, or the connection ended. */
  onNews: () => void = () => undefined;
  /** Resolves when the connection made last is gone; never rejects. */
  ended: Promise<void> = Promise.resolve();
  private client: MqttClient | null = null;

  constructor(user: string) {
    this.user = user;
  }

  get isConnected(): boolean {
    return this.client?.connected === true;
  }

  /** Connects to this life of the server and subscribes. Rejects where it ends meanwhile. */
  async connect(server: Pick<ServerProcess, 'http' | 'mqtt' | 'demo'>): Promise<void> {
    const { appid, serviceKey } = server.demo();
    const answer = await request(`${server.http}/resources/v1/device-tokens`, {
      method: 'POST',
      headers: { key: serviceKey, 'content-type': 'application/json' },
      body: JSON.stringify({ appid, userid: this.user, ttl: KEEP_SECONDS }),
    });
    const { token } = (await answer.body.json()) as { token: string };
    const client = mqtt.connect(server.mqtt, {
      clientId: `${this.user}-phone`,
      username: `${appid}/${this.user}`,
      password: token,
      protocolVersion: 5,
      clean: false,
      properties: { sessionExpiryInterval: KEEP_SECONDS },
      reconnectPeriod: 0,
      connectTimeout: 10_000,
    });
    this.client = client;
    client.on('close', () => this.onNews());
    this.ended = new Promise((resolve) => {
      client.once('close', () => resolve());
    });
    client.on('disconnect', (packet) => this.disconnects.push(packet.reasonCode ?? 0));
    // Before the CONNACK: a kept session goes on in the same segment, and a message without a listener is acknowledged.
    client.on('message', (_topic, payload) => this.take(payload.toString()));
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.on('error', reject);
      client.once('close', () => reject(new Error('closed before it was connected')));
    });
    await client.subscribeAsync(`${appid}/${this.user}`, { qos: 1 });
  }

  /** Resolves when the condition holds, looked at after every message and at the end of the connection. Rejects after `ms`. */
  until(condition: () => boolean, ms = 10_000): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${condition.toString()}`)), ms);
      this.onNews = () => {
        if (!condition()) return;
        clearTimeout(timer);
        this.onNews = () => undefined;
        resolve();
      };
      this.onNews();
    });
  }

  /** Ends the connection; the session stays. */
  async disconnect(): Promise<void> {
    const { client } = this;
    this.client = null;
    await client?.endAsync(true);
  }

  private take(payload: string): void {
    const body = JSON.parse(payload) as { seq?: number; type: string; tid: string; expiry: string; message: unknown };
    if (body.seq !== undefined) this.numbers.add(body.seq);
    if (body.type === 'message') {
      const text = String(body.message);
      this.texts.add(text);
      this.received.push({ text, tid: body.tid, seq: body.seq ?? 0, expiry: Date.parse(body.expiry), at: Date.now() });
    }
    this.onNews();
  }
}

export class Devices {
  readonly all: readonly Device[];

  constructor(users: readonly string[]) {
    this.all = users.map((user) => new Device(user));
  }

  /** Ignores those that the end of the server cut off: the next life has them again. */
  async connect(server: Pick<ServerProcess, 'http' | 'mqtt' | 'demo' | 'isRunning'>): Promise<void> {
    const outcomes = await Promise.allSettled(this.all.map((device) => device.connect(server)));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined && server.isRunning)
      throw new Error('a device could not connect', { cause: failed.reason });
  }

  async disconnect(): Promise<void> {
    await Promise.all(this.all.map((device) => device.disconnect()));
  }

  get(user: string): Device {
    const device = this.all.find((one) => one.user === user);
    if (device === undefined) throw new Error(`no device of ${user}`);
    return device;
  }

  /**
   * Resolves when the condition holds, looked at after every message and every end of a connection; false: not
   * within `ms`.
   */
  until(condition: () => boolean, ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (result: boolean): void => {
        clearTimeout(timer);
        for (const device of this.all) device.onNews = () => undefined;
        resolve(result);
      };
      const timer = setTimeout(() => end(condition()), ms);
      const look = (): void => {
        if (condition()) end(true);
      };
      for (const device of this.all) device.onNews = look;
      look();
    });
  }
}
