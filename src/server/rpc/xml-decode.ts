import type { XmlElement } from '../../strict-xml.js';
import { DateTime, type RpcValue } from '../rpc-value.js';

/** What is sent is no call of XML-RPC. */
export class XmlRpcFault extends Error {
  override readonly name = 'XmlRpcFault';
}

/** What a call is: its method and its parameters. */
export interface XmlRpcCall {
  readonly method: string;
  readonly parameters: readonly RpcValue[];
}

/** Some clients declare name spaces that they then do not use; nothing else may stand there. */
function checkAttributes({ name, attributes }: XmlElement): void {
  const surprise = [...attributes.keys()].find((key) => !/^xmlns(?::|$)/.test(key));
  if (surprise !== undefined) throw new XmlRpcFault(`an attribute of ${name}: ${surprise.slice(0, 64)}`);
}

function textOf(element: XmlElement): string {
  checkAttributes(element);
  const { name, children } = element;
  const texts = children.filter((child) => typeof child === 'string');
  if (texts.length < children.length) throw new XmlRpcFault(`elements in ${name}`);
  return texts.join('');
}

/** The elements of one that has no text but white space. */
function elementsOf(element: XmlElement): readonly XmlElement[] {
  checkAttributes(element);
  const stray = element.children.some((child) => typeof child === 'string' && child.trim() !== '');
  if (stray) throw new XmlRpcFault(`text in ${element.name}`);
  return element.children.filter((child) => typeof child !== 'string');
}

/** Exactly these elements, in this order. */
function partsOf(element: XmlElement, names: readonly string[]): readonly XmlElement[] {
  const elements = elementsOf(element);
  const right = elements.length === names.length && elements.every(({ name }, at) => name === names[at]);
  if (!right) throw new XmlRpcFault(`${element.name} without exactly ${names.join(', ')}`);
  return elements;
}

function allNamed(element: XmlElement, name: string): readonly XmlElement[] {
  const elements = elementsOf(element);
  const other = elements.find((child) => child.name !== name);
  if (other !== undefined) throw new XmlRpcFault(`${other.name} in ${element.name}`);
  return elements;
}

function integerOf(element: XmlElement): bigint {
  const text = textOf(element).trim();
  if (!/^[+-]?\d{1,19}$/.test(text)) throw new XmlRpcFault(`no integer in ${element.name}`);
  return BigInt(text.replace('+', ''));
}

function doubleOf(element: XmlElement): number {
  const text = textOf(element).trim();
  const value = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isFinite(value)) throw new XmlRpcFault('no number in double');
  return value;
}

function booleanOf(element: XmlElement): boolean {
  const text = textOf(element).trim();
  if (text !== '0' && text !== '1') throw new XmlRpcFault('neither 0 nor 1 in boolean');
  return text === '1';
}

function dateTimeOf(element: XmlElement): DateTime {
  const text = textOf(element).trim();
  if (!/^\d{8}T\d{2}:\d{2}:\d{2}Z?$/.test(text)) throw new XmlRpcFault('no time in dateTime.iso8601');
  return new DateTime(text);
}

function arrayOf(element: XmlElement): readonly RpcValue[] {
  const [data] = partsOf(element, ['data']);
  return data === undefined ? [] : allNamed(data, 'value').map(valueOf);
}

function structOf(element: XmlElement): RpcValue {
  const members = allNamed(element, 'member').map((member) => {
    const [name, value] = partsOf(member, ['name', 'value']);
    if (name === undefined || value === undefined) throw new XmlRpcFault('member without its parts');
    return [textOf(name), valueOf(value)] as const;
  });
  if (new Set(members.map(([name]) => name)).size < members.length) {
    throw new XmlRpcFault('a member twice');
  }
  return Object.fromEntries(members);
}

const READERS: ReadonlyMap<string, (element: XmlElement) => RpcValue> = new Map([
  ['string', textOf],
  ['int', integerOf],
  ['i4', integerOf],
  ['i8', integerOf],
  ['boolean', booleanOf],
  ['double', doubleOf],
  ['dateTime.iso8601', dateTimeOf],
  ['array', arrayOf],
  ['struct', structOf],
] as const);

/** "If no type is indicated, the type is string." */
function valueOf(element: XmlElement): RpcValue {
  if (element.children.every((child) => typeof child === 'string')) return textOf(element);
  const [typed, ...others] = elementsOf(element);
  const read = typed === undefined ? undefined : READERS.get(typed.name);
  if (typed === undefined || others.length > 0 || read === undefined) {
    throw new XmlRpcFault(`${(typed?.name ?? 'nothing').slice(0, 64)} in value`);
  }
  return read(typed);
}

/** @throws XmlRpcFault */
export function decodeMethodCall(root: XmlElement): XmlRpcCall {
  if (root.name !== 'methodCall') throw new XmlRpcFault('no methodCall');
  const hasParameters = elementsOf(root).length > 1;
  const [methodName, params] = partsOf(root, hasParameters ? ['methodName', 'params'] : ['methodName']);
  if (methodName === undefined) throw new XmlRpcFault('no methodName');
  const method = textOf(methodName).trim();
  // XML-RPC specification, "Payload format".
  if (!/^[A-Za-z0-9_.:/]{1,256}$/.test(method)) throw new XmlRpcFault('a methodName that is none');
  const parameters = params === undefined ? [] : allNamed(params, 'param');
  return {
    method,
    parameters: parameters.map((param) => {
      const [value] = partsOf(param, ['value']);
      if (value === undefined) throw new XmlRpcFault('param without value');
      return valueOf(value);
    }),
  };
}
