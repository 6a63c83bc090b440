import type { PathWatch } from './path-watch.ts'
import type { LinkPublisher } from './transport.ts'

/** How long replies may still be delivered after the end, in milliseconds, where nothing shows that they are. */
const LINGER = 5000

/**
 * Delivers what was published and closes; resolves when the connection is gone. Replies that Mongrel2 takes slowly have all the time
 * they need; a path that is lost has `LINGER`, or no time where the system has all of them.
 *
 * @param path The way to the publisher's recv_spec.
 */
export async function closePublisher(publisher: LinkPublisher, path: PathWatch): Promise<void> {
  path.always()
  const lost = await Promise.race([path.lost.then(() => true), publisher.drained().then(() => false)])
  publisher.close(lost && publisher.handedOver ? 0 : LINGER)
  path.close()
  await publisher.closed
}
