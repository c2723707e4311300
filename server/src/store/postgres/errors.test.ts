import { describe, expect, it } from 'vitest';
import { verdictOf } from './errors.ts';
import type { Verdict } from './errors.ts';

function withCode(code: string, constraint?: string): Error {
  return Object.assign(new Error(`error ${code}`), { code, constraint });
}

const CASES: readonly (readonly [Verdict, string, readonly string[]])[] = [
  ['retry', 'others were in the way', ['40001', '40P01', '55P03', '0A000', '26000']],
  [
    'lost',
    'the session ended or cannot begin',
    ['08006', '08001', '57P01', '57P02', '57P03', '53300', '25P03', '28P01', '3D000'],
  ],
  [
    'unavailable',
    'the database cannot do it now',
    ['53100', '53200', '58030', '57014', '25006', 'XX000', 'XX001', 'XX002'],
  ],
  ['lost', 'the network', ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOENT', 'ENOTFOUND', 'EAI_AGAIN']],
  [
    'bug',
    'the statement or its values',
    ['23505', '23502', '22P02', '22021', '42601', '42P01', '42703', '54000', '25P02', 'P0001'],
  ],
];

describe('what an error means', () => {
  for (const [verdict, words, codes] of CASES) {
    for (const code of codes) it(`${code}: ${words}`, () => expect(verdictOf(withCode(code))).toBe(verdict));
  }

  it('takes a user that two nodes made at once for a race, and another key that is there twice for a bug', () => {
    expect(verdictOf(withCode('23505', 'users_userid'))).toBe('retry');
    expect(verdictOf(withCode('23505', 'users_customerid'))).toBe('retry');
    expect(verdictOf(withCode('23505', 'requests_pkey'))).toBe('bug');
  });

  for (const message of [
    'Connection terminated unexpectedly',
    'Connection terminated due to connection timeout',
    'timeout exceeded when trying to connect',
    'Query read timeout',
    'Client has encountered a connection error and is not queryable',
  ]) {
    it(`knows the driver's words: ${message}`, () => expect(verdictOf(new Error(message))).toBe('lost'));
  }

  it('takes everything else for a bug', () => {
    for (const error of [new Error('x'), 'text', null, { code: '40001' }]) {
      expect(verdictOf(error)).toBe('bug');
    }
  });
});
