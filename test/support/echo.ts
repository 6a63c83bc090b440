import { once } from 'node:events'
import { WebSocket } from 'ws'

/** Sends a text by a WebSocket of its own, and closes that; what came back. */
export async function echoOf(url: string, text: string): Promise<string> {
  const client = new WebSocket(url)
  await once(client, 'open')
  const message = once(client, 'message')
  client.send(text)
  const [echo] = await message
  client.close()
  await once(client, 'close')
  return String(echo)
}
