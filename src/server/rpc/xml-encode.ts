import { NO_XML_CHARACTER } from '../../strict-xml.js';
import { DateTime, Int32, isRpcArray, type RpcValue } from '../rpc-value.js';

const NO_XML_CHARACTERS = new RegExp(NO_XML_CHARACTER.source, 'gu');

/** What a reader sees in the place of a character that XML 1.0 cannot hold, such as a NUL from a patch's output. */
const REPLACEMENT = '\u{FFFD}';

const REFERENCES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  // As itself it would be read as a line feed (XML 1.0, section 2.11).
  '\r': '&#13;',
};

function encodeXmlText(text: string): string {
  return text
    .replaceAll(NO_XML_CHARACTERS, REPLACEMENT)
    .replaceAll(/[&<>"\r]/g, (character) => REFERENCES[character] ?? character);
}

/** The XML-RPC specification knows digits around one point, and no exponent. */
export function encodeDouble(value: number): string {
  const text = String(value);
  const [, sign = '', whole = '', fraction = '', exponent = ''] =
    /^(-?)(\d+)(?:\.(\d+))?e([+-]\d+)$/.exec(text) ?? [];
  if (exponent === '') return text.includes('.') ? text : `${text}.0`;
  const point = whole.length + Number(exponent);
  const digits = whole + fraction;
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  return `${sign}${digits.padEnd(point, '0').slice(0, point)}.${digits.slice(point) || '0'}`;
}

function encodeMember(name: string, value: RpcValue): string {
  return `<member><name>${encodeXmlText(name)}</name>${encodeXmlValue(value)}</member>`;
}

/**
 * A value of XML-RPC as XAPI writes it: strings without an element of their own, integers of 64 bits as strings.
 */
export function encodeXmlValue(value: RpcValue): string {
  return `<value>${encodeContent(value)}</value>`;
}

function encodeContent(value: RpcValue): string {
  if (typeof value === 'string') return encodeXmlText(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'boolean') return `<boolean>${value ? 1 : 0}</boolean>`;
  if (typeof value === 'number') return `<double>${encodeDouble(value)}</double>`;
  if (value instanceof Int32) return `<i4>${value.value}</i4>`;
  if (value instanceof DateTime) return `<dateTime.iso8601>${encodeXmlText(value.text)}</dateTime.iso8601>`;
  if (isRpcArray(value)) return `<array><data>${value.map(encodeXmlValue).join('')}</data></array>`;
  const members = Object.entries(value).map(([name, member]) => encodeMember(name, member));
  return `<struct>${members.join('')}</struct>`;
}
