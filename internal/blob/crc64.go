package blob

import (
	"encoding/binary"
	"sync"
)

// crcPolynomial is Azure Storage's CRC64, reflected (the NVMe polynomial).
const crcPolynomial = 0x9A6C9329AC4BC9B5

// crcTables computes the tables once. hash/crc64 would build them anew on every
// write, as it only remembers those of its own two polynomials.
var crcTables = sync.OnceValue(func() *[8][256]uint64 {
	t := new([8][256]uint64)
	for i := range 256 {
		c := uint64(i)
		for range 8 {
			if c&1 == 1 {
				c = c>>1 ^ crcPolynomial
			} else {
				c >>= 1
			}
		}
		t[0][i] = c
	}
	for i := range 256 {
		c := t[0][i]
		for j := 1; j < 8; j++ {
			c = t[0][c&0xff] ^ c>>8
			t[j][i] = c
		}
	}
	return t
})

// crcUpdate extends the checksum crc of some bytes by p. The checksum of no
// bytes is 0.
func crcUpdate(crc uint64, p []byte) uint64 {
	t := crcTables()
	c := ^crc
	for len(p) >= 8 {
		c ^= binary.LittleEndian.Uint64(p)
		c = t[7][c&0xff] ^ t[6][c>>8&0xff] ^ t[5][c>>16&0xff] ^ t[4][c>>24&0xff] ^
			t[3][c>>32&0xff] ^ t[2][c>>40&0xff] ^ t[1][c>>48&0xff] ^ t[0][c>>56]
		p = p[8:]
	}
	for _, b := range p {
		c = t[0][byte(c)^b] ^ c>>8
	}
	return ^c
}

// crcBytes is the checksum as x-ms-content-crc64 carries it, before Base64.
func crcBytes(crc uint64) []byte { return binary.LittleEndian.AppendUint64(nil, crc) }
