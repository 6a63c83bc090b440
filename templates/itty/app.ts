import { AutoRouter, error, type IRequest } from 'itty-router'
import type { Mongrel2Env } from 'mongrel2-fetch'

const router = AutoRouter()

// What is not a Response becomes JSON.
router
  .get('/', (_request: IRequest, env: Mongrel2Env) => ({ hello: env.mongrel2.remoteAddress }))
  .get('/hello/:name', ({ params }: IRequest) => ({ hello: params.name }))
  .post('/sum', async (request: IRequest) => {
    const numbers: unknown = await request.json()
    if (!Array.isArray(numbers)) return error(400, 'A list of numbers was expected.')
    return { sum: numbers.reduce((sum: number, number) => sum + Number(number), 0) }
  })

export default router
