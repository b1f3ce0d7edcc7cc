package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
)

// Symmetric keys. The API has them for vaults and managed HSMs alike; which of its
// vaults take them Azure has changed more than once, and Azimuth's all do: of type oct,
// and in premium vaults oct-HSM.
//
// https://learn.microsoft.com/azure/key-vault/keys/about-keys-details#symmetric-key-algorithms-managed-hsm-only

func isOct(keyType string) bool { return keyType == "oct" || keyType == "oct-HSM" }

// generateOct makes a key of the requested size.
func generateOct(in *keyRequest) ([]byte, error) {
	switch in.Size {
	case 0:
		in.Size = 256
	case 128, 192, 256:
	default:
		return nil, badParameter("Property key_size has an invalid value: it is 128, 192 or 256.")
	}
	key := make([]byte, in.Size/8)
	rand.Read(key) // it does not fail
	return key, nil
}

// parseOct reads a symmetric JSON Web Key.
func parseOct(text []byte) ([]byte, error) {
	var in struct {
		K keyBytes `json:"k"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, badParameter("Property key is not a symmetric JSON Web Key.")
	}
	switch len(in.K) {
	case 16, 24, 32:
		return in.K, nil
	}
	return nil, badParameter("Property k has an invalid value: it has 128, 192 or 256 bits.")
}

// newOct makes a version of a symmetric key.
func (c *call) newOct(in *keyRequest, key []byte) (*version, error) {
	return c.newKeyVersion(in, json.RawMessage("{}"), key)
}

// octResult is what a usage of a symmetric key answers.
type octResult struct {
	KID   string   `json:"kid"`
	Value keyBytes `json:"value"`
	IV    keyBytes `json:"iv,omitempty"`
	Tag   keyBytes `json:"tag,omitempty"`
	AAD   keyBytes `json:"aad,omitempty"`
}

// useOct does something with a symmetric key.
func (c *call) useOct(u usage, v *version, in *useRequest) (*octResult, error) {
	key, err := c.cfg.Sealer.Open(v.Value)
	if err != nil {
		return nil, fmt.Errorf("open key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	mode, ok := strings.CutPrefix(in.Algorithm, fmt.Sprintf("A%d", len(key)*8))
	wrap := u.op == "wrapKey" || u.op == "unwrapKey"
	if !ok || wrap != (mode == "KW") {
		return nil, badAlgorithm(in)
	}
	open := u.late // what is sealed may be opened late
	switch mode {
	case "KW":
		return wrapOct(block, open, in)
	case "GCM":
		return gcmOct(block, open, in)
	case "CBC", "CBCPAD":
		return cbcOct(block, open, mode == "CBCPAD", in)
	}
	return nil, badAlgorithm(in)
}

func notSealedHere() error {
	return badParameter("Property value has an invalid value: it was not encrypted with this key.")
}

func gcmOct(block cipher.Block, open bool, in *useRequest) (*octResult, error) {
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("use key: %w", err)
	}
	if !open {
		iv := make([]byte, aead.NonceSize())
		rand.Read(iv)
		sealed := aead.Seal(nil, iv, in.Value, in.AAD)
		at := len(sealed) - aead.Overhead()
		return &octResult{Value: sealed[:at], Tag: sealed[at:], IV: iv, AAD: in.AAD}, nil
	}
	if len(in.IV) != aead.NonceSize() || len(in.Tag) != aead.Overhead() {
		return nil, badParameter("Properties iv and tag are needed: %d and %d bytes.", aead.NonceSize(), aead.Overhead())
	}
	plain, err := aead.Open(nil, in.IV, append(bytes.Clone(in.Value), in.Tag...), in.AAD)
	if err != nil {
		return nil, notSealedHere()
	}
	return &octResult{Value: plain}, nil
}

func cbcOct(block cipher.Block, open, pad bool, in *useRequest) (*octResult, error) {
	size := block.BlockSize()
	if len(in.IV) != size {
		return nil, badParameter("Property iv is needed: %d bytes.", size)
	}
	value := bytes.Clone(in.Value)
	if !open && pad {
		n := size - len(value)%size
		value = append(value, bytes.Repeat([]byte{byte(n)}, n)...)
	}
	if len(value)%size != 0 || len(value) == 0 {
		return nil, badParameter("Property value has an invalid value: its length is no multiple of %d bytes.", size)
	}
	if !open {
		cipher.NewCBCEncrypter(block, in.IV).CryptBlocks(value, value)
		return &octResult{Value: value, IV: in.IV}, nil
	}
	cipher.NewCBCDecrypter(block, in.IV).CryptBlocks(value, value)
	if pad {
		n := int(value[len(value)-1])
		if n == 0 || n > size || !bytes.Equal(value[len(value)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
			return nil, notSealedHere()
		}
		value = value[:len(value)-n]
	}
	return &octResult{Value: value}, nil
}

// wrapOct is the AES key wrap of RFC 3394.
func wrapOct(block cipher.Block, open bool, in *useRequest) (*octResult, error) {
	const half, rounds = 8, 6
	first := bytes.Repeat([]byte{0xa6}, half)
	buf := make([]byte, 2*half)
	if !open {
		if len(in.Value) < 2*half || len(in.Value)%half != 0 {
			return nil, badParameter("Property value has an invalid value: a key to wrap has 16 bytes or more, a multiple of 8.")
		}
		r := bytes.Clone(in.Value)
		n := len(r) / half
		for j := range rounds {
			for i := range n {
				copy(buf, first)
				copy(buf[half:], r[i*half:])
				block.Encrypt(buf, buf)
				binary.BigEndian.PutUint64(first, binary.BigEndian.Uint64(buf)^uint64(n*j+i+1))
				copy(r[i*half:], buf[half:])
			}
		}
		return &octResult{Value: append(first, r...)}, nil
	}
	if len(in.Value) < 3*half || len(in.Value)%half != 0 {
		return nil, notSealedHere()
	}
	a, r := bytes.Clone(in.Value[:half]), bytes.Clone(in.Value[half:])
	n := len(r) / half
	for j := rounds - 1; j >= 0; j-- {
		for i := n - 1; i >= 0; i-- {
			binary.BigEndian.PutUint64(buf, binary.BigEndian.Uint64(a)^uint64(n*j+i+1))
			copy(buf[half:], r[i*half:(i+1)*half])
			block.Decrypt(buf, buf)
			copy(a, buf)
			copy(r[i*half:], buf[half:])
		}
	}
	if subtle.ConstantTimeCompare(a, first) != 1 {
		return nil, notSealedHere()
	}
	return &octResult{Value: r}, nil
}
