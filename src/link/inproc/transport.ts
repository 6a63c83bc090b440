import { type Deferred, deferred } from '../../runtime/promises.ts'
import { cutMessage } from '../../wire/message.ts'
import type { LinkPublisher, LinkSource, Transport } from '../transport.ts'
import { type Binding, bindingAt } from './binding.ts'

/** Whether a `send_spec` is that of a gateway in this process. */
export function isInproc(spec: string): boolean {
  return spec.startsWith('inproc://')
}

/** Without sockets, to a gateway of this process: messages and replies are handed over by calls. */
export const INPROC: Transport = {
  createPublisher(spec): LinkPublisher {
    const { binding, opened, end, closed } = halfAt(spec)
    const drained = async () => await binding?.drained()
    let open = true
    return {
      full: false,
      handedOver: true,
      connected: opened,
      get opened() {
        return opened.then(() => binding?.prefix ?? '')
      },
      closed,
      drained,
      publish(replies) {
        if (open) binding?.publish(replies)
      },
      answer: () => opened,
      close() {
        open = false
        void drained().then(end.resolve)
      },
    }
  },
  createSource(spec, _identity, receive, _report, maxMessageSize): LinkSource {
    const { binding, opened, end, closed } = halfAt(spec)
    const detach = binding?.attach((message) => receive(cutMessage(message, maxMessageSize)))
    const close = () => {
      detach?.()
      end.resolve()
    }
    return { opened, closed, stop: async () => close(), close }
  },
}

/** What both halves of a link have. `closed` also resolves when the gateway ends, or at once if there is none. */
function halfAt(spec: string): {
  binding: Binding | undefined
  opened: Promise<void>
  end: Deferred<void>
  closed: Promise<void>
} {
  const binding = bindingAt(spec)
  const opened: Deferred<void> = deferred()
  const end: Deferred<void> = deferred()
  if (binding === undefined) opened.reject(new Error(`no gateway of this process has bound ${spec}`))
  else opened.resolve()
  return { binding, opened: opened.promise, end, closed: Promise.race([end.promise, binding?.closed]).then(() => {}) }
}
