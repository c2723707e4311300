import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTemplate, renderTemplate } from './template.ts';

const render = (text: string, parameters: Record<string, string>) =>
  renderTemplate(parseTemplate(text), parameters, 10_000_000);

describe('templates', () => {
  it('puts every parameter in its place', () => {
    expect(render('Hello ${name}, your code is ${code}', { name: 'Ada', code: '42' })).toEqual({
      ok: true,
      text: 'Hello Ada, your code is 42',
    });
    expect(render('${a}${b}${a}', { a: '1', b: '2' })).toEqual({ ok: true, text: '121' });
    expect(render('no parameter', {})).toEqual({ ok: true, text: 'no parameter' });
    expect(render('', {})).toEqual({ ok: true, text: '' });
  });

  it('takes names with blanks around and inside, and of any alphabet', () => {
    expect(render('${ first name } ${größe}', { 'first name': 'Ada', größe: 'XL' })).toEqual({
      ok: true,
      text: 'Ada XL',
    });
  });

  it.each([
    '{{constructor}}',
    '{{__proto__.x}}',
    '${b}',
    '${7*7}',
    '{%for%}',
    '<%= 1 %>',
    '#{1}',
    '{{{{a}}}}',
    '$&',
    "$'",
    '$1',
    '$$',
    '${',
  ])('never looks into a value: %s', (value) => {
    expect(render('<${a}>', { a: value, b: 'expanded' })).toEqual({ ok: true, text: `<${value}>` });
  });

  it('lists what is missing, each name once, and finds no inherited name', () => {
    expect(render('${a} ${toString} ${b} ${a} ${__proto__} ${hasOwnProperty}', { b: '1' })).toEqual({
      ok: false,
      missing: ['a', 'toString', '__proto__', 'hasOwnProperty'],
    });
  });

  it('takes names that objects inherit when they are given', () => {
    const parameters = Object.assign(Object.create(null) as Record<string, string>, {
      toString: 'x',
      ['__proto__']: 'y',
    });
    expect(render('${toString}${__proto__}', parameters)).toEqual({ ok: true, text: 'xy' });
  });

  it('leaves what is no parameter as it is', () => {
    for (const text of ['${', '${}', '${ }', '$name', '{name}', '$ {a}', '${a', '}${']) {
      expect(render(text, {})).toEqual({ ok: true, text });
    }
  });

  it('holds for all texts and values: the parts and the values in order, nothing else', () => {
    const literal = fc.string().map((text) => text.replaceAll('$', ''));
    fc.assert(
      fc.property(fc.array(fc.tuple(literal, fc.string()), { maxLength: 8 }), literal, (pieces, tail) => {
        const parameters: Record<string, string> = {};
        let template = '';
        let expected = '';
        for (const [index, [text, value]] of pieces.entries()) {
          template += `${text}\${p${index}}`;
          expected += text + value;
          parameters[`p${index}`] = value;
        }
        expect(render(template + tail, parameters)).toEqual({ ok: true, text: expected + tail });
      }),
    );
  });

  it('stops at the length allowed, however often a large value is named', () => {
    const template = parseTemplate('${a}'.repeat(1_000));
    expect(renderTemplate(template, { a: 'x'.repeat(1_000_000) }, 32_768)).toEqual({ ok: false, missing: [] });
    expect(renderTemplate(template, { a: 'x'.repeat(10) }, 10_000)).toMatchObject({ ok: true });
    expect(renderTemplate(template, { a: 'x'.repeat(10) }, 9_999)).toEqual({ ok: false, missing: [] });
  });

  it('is linear: a long text with 10,000 parameters renders at once', () => {
    const parameters: Record<string, string> = {};
    for (let index = 0; index < 10_000; index += 1) parameters[`p${index}`] = 'v'.repeat(100);
    const text = Object.keys(parameters)
      .map((name) => `\${${name}}`)
      .join('${');
    const result = render(text, parameters);
    expect(result.ok && result.text.length).toBe(10_000 * 100 + 9_999 * 2);
  });
});
