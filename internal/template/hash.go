package template

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// guidNamespace is that of guid(): the function is an UUID of version 5 in it, of
// its arguments joined with dashes. Azure's documentation says so.
// https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions-string#guid
const guidNamespace = "11fb06fb-712d-4ddd-98c7-e71bbd588830"

func guidOf(args []string) string {
	return uuid.NewSHA1(uuid.MustParse(guidNamespace), []byte(strings.Join(args, "-"))).String()
}

// uniqueString is 13 characters of a hash of the arguments joined with dashes.
// Azure does not document how it is made; people found out, and the tests hold
// this against values that Azure is known to give.
func uniqueString(args []string) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	h := hash64([]byte(strings.Join(args, "-")))
	var out [13]byte
	for i := range out {
		out[i] = alphabet[h>>59]
		h <<= 5
	}
	return string(out[:])
}

// hash64 is a variant of MurmurHash3 with two lanes of 32 bits.
func hash64(data []byte) uint64 {
	const (
		c1, c2 = 0x239b961b, 0xab0e9789
		d1, d2 = 0x561ccd1b, 0x0bcaa747
	)
	n := uint32(len(data))
	var h1, h2 uint32
	for ; len(data) >= 8; data = data[8:] {
		k1, k2 := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
		h1 ^= bits.RotateLeft32(k1*c1, 15) * c2
		h1 = (bits.RotateLeft32(h1, 19) + h2) * 5
		h1 += d1
		h2 ^= bits.RotateLeft32(k2*c2, 17) * c1
		h2 = (bits.RotateLeft32(h2, 13) + h1) * 5
		h2 += d2
	}
	var rest [8]byte
	copy(rest[:], data)
	if len(data) > 4 {
		h2 ^= bits.RotateLeft32(binary.LittleEndian.Uint32(rest[4:])*c2, 17) * c1
	}
	if len(data) > 0 {
		h1 ^= bits.RotateLeft32(binary.LittleEndian.Uint32(rest[:])*c1, 15) * c2
	}
	h1 ^= n
	h2 ^= n
	h1 += h2
	h2 += h1
	h1, h2 = mix(h1), mix(h2)
	h1 += h2
	h2 += h1
	return uint64(h2)<<32 | uint64(h1)
}

func mix(h uint32) uint32 {
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}

// Hash is the hash of a template, as calculateTemplateHash answers it: that of
// its JSON without spaces, in capitals. Properties are in the order of their
// names here, not in that of the document, so the number is not Azure's.
func Hash(t map[string]any) string {
	return strconv.FormatUint(hash64([]byte(strings.ToUpper(compact(t)))), 10)
}

// Minify is a template without spaces.
func Minify(t map[string]any) string { return compact(t) }
