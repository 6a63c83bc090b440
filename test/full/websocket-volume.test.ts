import { expect, it } from 'vitest'
import { exchangeMessages, PACINGS } from '../support/websocket-volume.ts'

const COUNT = 100_000

it.each(PACINGS)(
  `${COUNT} messages of up to 300 KB each way at once, fragments and pings among them, arrive whole and in their order, paced by %s`,
  async (pacing) => {
    const { arrived, sent } = await exchangeMessages(COUNT, pacing)
    expect(arrived).toEqual(sent)
  },
  20 * 60_000,
)
