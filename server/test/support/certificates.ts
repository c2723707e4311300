/**
 * X.509 certificates made on the spot, so that TLS tests need neither openssl nor files that expire.
 * ECDSA P-256 with SHA-256; DER written by hand after RFC 5280.
 */
import { createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { isIPv4 } from 'node:net';

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

export interface CertificateOptions {
  readonly commonName: string;
  /** DNS names and IPv4 addresses. */
  readonly altNames?: readonly string[];
  /** Default: an hour ago. */
  readonly notBefore?: Date;
  /** Default: in a day. */
  readonly notAfter?: Date;
  /** Absent: self-signed. */
  readonly issuer?: Certificate & { readonly commonName: string };
  readonly authority?: boolean;
}

const SHORT_FORM_MAX = 0x7f;

function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const head: number[] = [tag];
  if (content.length <= SHORT_FORM_MAX) head.push(content.length);
  else if (content.length <= 0xff) head.push(0x81, content.length);
  else head.push(0x82, content.length >> 8, content.length & 0xff);
  return Buffer.concat([Buffer.from(head), content]);
}

const sequence = (...contents: readonly Uint8Array[]): Buffer => der(0x30, ...contents);
const octets = (content: Uint8Array): Buffer => der(0x04, content);
const bitString = (content: Uint8Array): Buffer => der(0x03, Buffer.from([0]), content);
const explicit = (index: number, content: Uint8Array): Buffer => der(0xa0 | index, content);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const time = (date: Date): Buffer =>
  der(0x18, Buffer.from(`${date.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`, 'ascii'));

const ECDSA_WITH_SHA256 = sequence(oid('2a8648ce3d040302'));
const COMMON_NAME = oid('550403');
const SUBJECT_ALT_NAME = oid('551d11');
const BASIC_CONSTRAINTS = oid('551d13');
const TRUE = Buffer.from([0x01, 0x01, 0xff]);

const name = (commonName: string): Buffer =>
  sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(commonName, 'utf8')))));

function altName(text: string): Buffer {
  if (isIPv4(text)) return der(0x87, Buffer.from(text.split('.').map(Number)));
  return der(0x82, Buffer.from(text, 'ascii'));
}

function extensions(options: CertificateOptions): Buffer {
  const list: Buffer[] = [];
  if (options.authority === true) list.push(sequence(BASIC_CONSTRAINTS, TRUE, octets(sequence(TRUE))));
  const altNames = options.altNames ?? [];
  if (altNames.length > 0) list.push(sequence(SUBJECT_ALT_NAME, octets(sequence(...altNames.map(altName)))));
  return list.length > 0 ? explicit(3, sequence(...list)) : Buffer.alloc(0);
}

/** Makes a key pair and a certificate over it, self-signed or signed by `issuer`. */
export function makeCertificate(options: CertificateOptions): Certificate {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  const hourMs = 3_600_000;
  const body = sequence(
    explicit(0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([0x01]), randomBytes(15)])),
    ECDSA_WITH_SHA256,
    name(options.issuer?.commonName ?? options.commonName),
    sequence(
      time(options.notBefore ?? new Date(Date.now() - hourMs)),
      time(options.notAfter ?? new Date(Date.now() + 24 * hourMs)),
    ),
    name(options.commonName),
    publicKey,
    extensions(options),
  );
  const signature = sign('sha256', body, options.issuer?.key ?? privateKey);
  const whole = sequence(body, ECDSA_WITH_SHA256, bitString(signature));
  const lines = whole.toString('base64').replace(/.{1,64}/g, '$&\n');
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
}
