import {
  type LinkOption,
  type Mongrel2Handler,
  type Mongrel2Options,
  type Mongrel2Server,
  serveMongrel2 as serve,
} from '../../src/index.ts'

/** `LINK=zeromq` or `LINK=zmtp` in the environment makes a test run use that link; otherwise it is the default one. */
const { LINK } = process.env

/** `serveMongrel2`, on the link that this test run is for. */
export function serveMongrel2(handler: Mongrel2Handler, options: Mongrel2Options): Mongrel2Server {
  return serve(handler, LINK === undefined ? options : { link: LINK as LinkOption, ...options })
}
