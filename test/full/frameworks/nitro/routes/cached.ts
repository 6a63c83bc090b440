import { defineCachedHandler } from 'nitro/cache'

let calls = 0

export default defineCachedHandler(() => ({ calls: ++calls }), { maxAge: 60, swr: false })
