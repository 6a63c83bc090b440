import type { Transport } from './transport.ts'
import { zeromq } from './zeromq/transport.ts'
import { zmtp } from './zmtp/transport.ts'

/** What sockets to Mongrel2 can be made of, by the names of the option `link`. */
export const TRANSPORTS: Readonly<Record<'zeromq' | 'zmtp', Transport>> = { zeromq, zmtp }
