// Measures what the import of a module adds to this process, which has been started with a module as users' programs are, and may have imported others.

const modules = process.argv.slice(2)
for (const module of modules.splice(0, modules.length - 1)) await import(module)
const [rss, cpu, start] = [process.memoryUsage.rss(), process.cpuUsage(), performance.now()]
await import(modules[0])
const milliseconds = performance.now() - start
const { user, system } = process.cpuUsage(cpu)
const mib = (process.memoryUsage.rss() - rss) / 1024 ** 2
console.log(JSON.stringify({ milliseconds, cpu: (user + system) / 1000, mib }))
