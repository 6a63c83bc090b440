import type { Spread } from './statistics.ts'

/** One bar of a chart. */
export interface Bar {
  readonly label: string
  readonly value: Spread
  /** Stands behind the bar. */
  readonly note: string
  /** Whether it is what the chart is about. */
  readonly highlighted: boolean
}

const WIDTH = 820
const LABELS = 320
const NOTES = 170
const ROW = 30
const BAR = 18
const TOP = 56

/**
 * Draws horizontal bars as an SVG that is readable on light and dark grounds. A thin line at a bar's end shows its spread.
 *
 * @param title Above the bars.
 * @param subtitle Below the title: what the lengths mean.
 */
export function renderChart(title: string, subtitle: string, bars: readonly Bar[]): string {
  const height = TOP + bars.length * ROW + 12
  const scale = (WIDTH - LABELS - NOTES) / Math.max(...bars.map(({ value }) => value.max))
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escapeXml(title)}">
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.quiet { fill: #57606a }
.bar { fill: #8c959f }
.ours { fill: #bc4c00 }
.spread { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.quiet { fill: #9da7b1 }
.bar { fill: #6e7681 }
.ours { fill: #f0883e }
.spread { stroke: #e6edf3 }
}
</style>
<text class="title" x="12" y="22">${escapeXml(title)}</text>
<text class="quiet" x="12" y="42">${escapeXml(subtitle)}</text>
${bars.map((bar, n) => renderBar(bar, TOP + n * ROW, scale)).join('\n')}
</svg>
`
}

function renderBar({ label, value, note, highlighted }: Bar, y: number, scale: number): string {
  const middle = y + BAR / 2
  const at = (length: number) => (LABELS + length * scale).toFixed(1)
  return `<text x="${LABELS - 10}" y="${middle + 4.5}" text-anchor="end">${escapeXml(label)}</text>
<rect class="${highlighted ? 'ours' : 'bar'}" x="${LABELS}" y="${y}" width="${(value.median * scale).toFixed(1)}" height="${BAR}" rx="2"/>
<path class="spread" d="M${at(value.min)} ${middle}H${at(value.max)}"/>
<text class="quiet" x="${(LABELS + value.max * scale + 8).toFixed(1)}" y="${middle + 4.5}">${escapeXml(note)}</text>`
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character] ?? character)
}
