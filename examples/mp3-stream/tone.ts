// Makes MP3 frames without an encoder, for tones are simple: each half of a frame (a granule) has one frequency line that is not zero.
// MPEG-1 layer III (ISO/IEC 11172-3), mono, 48 kHz, 64 kbit/s: all frames have 192 bytes and last 24 ms.

export const FRAME_BYTES = 192
export const FRAME_SECONDS = 0.024

/** Sync word, MPEG-1 layer III without CRC, 64 kbit/s, 48 kHz, mono. */
const HEADER = [0xff, 0xfb, 0x54, 0xc0]
/** How loud a line is: 2^((gain - 210) / 4) of what fits. */
const GAIN = 202

/** The frequency of a line in Hz: there are 576 up to half of 48 kHz. */
export const frequencyOf = (line: number): number => ((line + 0.5) * 24_000) / 576

/**
 * Makes frames of a tone.
 *
 * @param line An even frequency line, or undefined for silence.
 * @param count An even number of frames: the signs of the line repeat after two.
 */
export function makeTone(line: number | undefined, count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, n) => makeFrame(line, n % 2 === 1)))
}

function makeFrame(line: number | undefined, odd: boolean): Buffer {
  const bits = new BitWriter(Buffer.alloc(FRAME_BYTES))
  for (const byte of HEADER) bits.write(byte, 8)
  // The side information: main_data_begin, private_bits and scfsi are 0; then what each granule is.
  bits.write(0, 9 + 5 + 4)
  const pairs = line === undefined ? 0 : line / 2
  for (let granule = 0; granule < 2; granule++) {
    // part2_3_length: 1 bit for each pair of zeros, 2 for the pair (1, 0), 1 for its sign.
    bits.write(line === undefined ? 0 : pairs + 3, 12)
    bits.write(line === undefined ? 0 : pairs + 1, 9) // big_values
    bits.write(GAIN, 8) // global_gain
    bits.write(0, 4 + 1) // scalefac_compress, window_switching_flag
    for (let region = 0; region < 3; region++) bits.write(1, 5) // table_select: Huffman table 1
    bits.write(0, 4 + 3 + 3) // region0_count, region1_count, preflag, scalefac_scale, count1table_select
  }
  // The main data. A line in the middle of its range turns by a quarter from granule to granule: + - - +.
  if (line !== undefined) {
    for (const negative of odd ? [1, 0] : [0, 1]) {
      for (let pair = 0; pair < pairs; pair++) bits.write(1, 1) // (0, 0)
      bits.write(0b01, 2) // (1, 0)
      bits.write(negative, 1)
    }
  }
  return bits.bytes
}

/** Writes numbers bit by bit, the highest bit first. */
class BitWriter {
  readonly bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  write(value: number, length: number): void {
    for (let bit = length - 1; bit >= 0; bit--, this.#at++) {
      const byte = this.#at >> 3
      if ((value >> bit) & 1) this.bytes[byte] = (this.bytes[byte] ?? 0) | (0x80 >> (this.#at & 7))
    }
  }
}
