import { describe, expect, it } from 'vitest';
import { seededRandom, systemRandom } from '../../test/support/random.ts';
import { findLinkTokens, isSlug, linkAddress, newSlug, replaceLinkTokens, SLUG_LENGTH } from './links.ts';

describe('slugs', () => {
  it('carry at least 80 bits', () => {
    expect(SLUG_LENGTH * Math.log2(62)).toBeGreaterThanOrEqual(80);
  });

  it('have their form, and no two are alike', () => {
    const seen = new Set<string>();
    for (let index = 0; index < 10_000; index += 1) {
      const slug = newSlug(systemRandom);
      expect(isSlug(slug)).toBe(true);
      seen.add(slug);
    }
    expect(seen.size).toBe(10_000);
  });

  it('use every letter about equally often', () => {
    const counts = new Map<string, number>();
    const random = seededRandom(7);
    const slugs = 20_000;
    for (let index = 0; index < slugs; index += 1) {
      for (const letter of newSlug(random)) counts.set(letter, (counts.get(letter) ?? 0) + 1);
    }
    const expected = (slugs * SLUG_LENGTH) / 62;
    expect(counts.size).toBe(62);
    for (const count of counts.values()) expect(Math.abs(count / expected - 1)).toBeLessThan(0.1);
  });

  it('are told from other texts', () => {
    for (const text of ['', 'abc', 'a'.repeat(15), 'a'.repeat(13) + '-', 'a'.repeat(14) + '\n', '../../etc/passwd']) {
      expect(isSlug(text)).toBe(false);
    }
  });
});

describe('tokens', () => {
  it('are found with their count, in text and in JSON text', () => {
    const text = 'See {{link_5}} and {{link_12}}, again {{link_5}} "quoted"';
    for (const form of [text, JSON.stringify({ message: text })]) {
      expect([...findLinkTokens(form)]).toEqual([
        ['5', 2],
        ['12', 1],
      ]);
    }
  });

  it('are nothing else', () => {
    for (const text of [
      '{{link_}}',
      '{{link_05}}',
      '{{link_-1}}',
      '{link_5}',
      '{{ link_5 }}',
      '{{link_99999999999999999}}',
    ]) {
      expect(findLinkTokens(text).size).toBe(0);
      expect(replaceLinkTokens(text, () => 'x')).toBe(text);
    }
  });

  it('are replaced where the message has the link and stay where it has not', () => {
    const json = JSON.stringify({ message: 'a {{link_5}} b {{link_6}}' });
    const replaced = replaceLinkTokens(json, (linkid) =>
      linkid === '5' ? linkAddress('https://msg.example', 'abcdefghijklmn') : null,
    );
    expect(JSON.parse(replaced)).toEqual({ message: 'a https://msg.example/l/abcdefghijklmn b {{link_6}}' });
  });
});
