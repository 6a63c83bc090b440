import { index, type RouteConfig, route } from '@react-router/dev/routes'

export default [
  index('routes/home.tsx'),
  route('thrown', 'routes/thrown.tsx'),
  route('redirect', 'routes/redirect.ts'),
  route('resource', 'routes/resource.ts'),
  route('stream', 'routes/stream.ts'),
  route('late', 'routes/late.tsx'),
] satisfies RouteConfig
