import { v4 } from 'uuid'
import type { HttpSettings } from '../../src/gateway/http.ts'
import { checkSettings, type FrontSettings } from '../../src/gateway/options.ts'
import type { RouterSettings } from '../../src/gateway/router.ts'
import { invalid, isObject, known, oneOf, specOf } from '../../src/options/option-check.ts'
import type { Endpoint } from '../../src/options/options.ts'
import type { HeaderProtocol } from '../../src/wire/message.ts'

/** Options of `Mongrel2Dispatcher`. */
export interface Mongrel2DispatcherOptions
  extends Pick<FrontSettings, 'flowControl' | 'bufferSize' | 'contentLength' | 'logger'> {
  /** What the handler connects to, bound here: `'SEND_SPEC,RECV_SPEC'`, or an object with both. */
  zeromq: string | Endpoint
  /** How headers are written. Default: `json`. */
  protocol?: HeaderProtocol
}

/**
 * Checks what a user gave to `Mongrel2Dispatcher`.
 *
 * @throws Mongrel2Error `invalid_option`, naming the option, what was expected and what came.
 */
export function checkDispatcherOptions(options: Mongrel2DispatcherOptions): RouterSettings & HttpSettings {
  if (!isObject(options)) throw invalid('options', 'an object with at least zeromq', options)
  known('option', options, ['zeromq', 'protocol', 'flowControl', 'bufferSize', 'contentLength', 'logger'])
  const { zeromq, protocol, ...settings } = options
  const route = {
    path: '', // every one
    ...endpointOf(zeromq),
    protocol: oneOf('protocol', protocol, ['json', 'tnetstring'], 'json'),
    sendIdent: v4(),
    recvIdent: '',
  }
  return { ...checkSettings(settings), routes: [route] }
}

function endpointOf(zeromq: unknown): Endpoint {
  if (isObject(zeromq)) known('property of zeromq', zeromq, ['sendSpec', 'recvSpec'])
  const specs = typeof zeromq === 'string' ? zeromq.split(',').map((spec) => spec.trim()) : undefined
  const [sendSpec, recvSpec, ...more] = specs ?? (isObject(zeromq) ? [zeromq.sendSpec, zeromq.recvSpec] : [])
  if (recvSpec === undefined || more.length > 0)
    throw invalid('zeromq', "'SEND_SPEC,RECV_SPEC' or { sendSpec, recvSpec }", zeromq)
  return { sendSpec: specOf('sendSpec', sendSpec), recvSpec: specOf('recvSpec', recvSpec) }
}
