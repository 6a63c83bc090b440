import { createSchema, createYoga } from 'graphql-yoga'
import { type Exchanges, json, LARGE } from './exchange.ts'
import { digest, endlessSteps, steps } from './steps.ts'

const typeDefs = /* GraphQL */ `
  scalar File
  type Digest { name: String, size: Int, sha256: String }
  type Query { hello(name: String = "world"): String!, fails: String, method: String, header: String }
  type Mutation { upload(file: File!): Digest!, add(a: Int!, b: Int!): Int! }
  type Subscription { steps: String!, endless: String! }
`

async function* asField(name: string, source: AsyncGenerator<string>): AsyncGenerator<Record<string, string>> {
  for await (const step of source) yield { [name]: step }
}

export default createYoga({
  logging: false,
  schema: createSchema<object>({
    typeDefs,
    resolvers: {
      Query: {
        hello: (_: unknown, { name }: { name: string }) => `Hello ${name}`,
        fails: () => {
          throw new Error('not for clients')
        },
        method: (_: unknown, __: unknown, { request }: { request: Request }) => request.method,
        header: (_: unknown, __: unknown, { request }: { request: Request }) => request.headers.get('x-header'),
      },
      Mutation: {
        add: (_: unknown, { a, b }: { a: number; b: number }) => a + b,
        upload: async (_: unknown, { file }: { file: File }) => ({
          name: file.name,
          ...(await digest(await file.arrayBuffer())),
        }),
      },
      Subscription: {
        steps: { subscribe: () => asField('steps', steps()) },
        endless: { subscribe: () => asField('endless', endlessSteps()) },
      },
    },
  }),
})

const events = { accept: 'text/event-stream' }
const query = (text: string) => `/graphql?query=${encodeURIComponent(text)}`

export const exchanges: Exchanges = {
  'query by GET': { path: query('{ hello(name: "Grüße") method header }'), headers: { 'x-header': 'a' } },
  'query by POST': json('/graphql', { query: 'query($n: String) { hello(name: $n) method }', variables: { n: 'ü' } }),
  mutation: json('/graphql', { query: 'mutation { add(a: 1, b: 2) }' }),
  'mutation by GET is refused': { path: query('mutation { add(a: 1, b: 2) }') },
  'masked error': json('/graphql', { query: '{ fails }' }),
  'invalid query': json('/graphql', { query: '{ nothing }' }),
  'no JSON': { path: '/graphql', body: '{', headers: { 'content-type': 'application/json' } },
  GraphiQL: { path: '/graphql', headers: { accept: 'text/html' } },
  health: { path: '/health' },
  preflight: {
    path: '/graphql',
    method: 'OPTIONS',
    headers: { origin: 'http://a.example', 'access-control-request-method': 'POST' },
  },
  'not found': { path: '/nowhere' },
  'multipart upload': {
    path: '/graphql',
    body: {
      operations: JSON.stringify({
        query: 'mutation($file: File!) { upload(file: $file) { name size sha256 } }',
        variables: { file: null },
      }),
      map: JSON.stringify({ 0: ['variables.file'] }),
      0: { name: 'a.bin', type: 'application/octet-stream', content: LARGE },
    },
  },
  subscription: { path: query('subscription { steps }'), headers: events, steps: 'read' },
  'subscription by POST': json('/graphql', { query: 'subscription { steps }' }, { headers: events, steps: 'read' }),
  'subscription left': { path: query('subscription { endless }'), headers: events, steps: 'leave' },
}
