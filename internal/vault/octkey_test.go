package vault_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
)

// TestSymmetricKeys with Azure's own client: each algorithm opens what it sealed, and
// nothing that was altered.
func TestSymmetricKeys(t *testing.T) {
	ctx, p := t.Context(), start(t)
	c := p.keys(t, "kv", "officer")
	for size, algorithms := range map[int32][]string{128: {"A128GCM", "A128CBC", "A128CBCPAD"}, 192: {"A192GCM"}, 256: {"A256GCM", "A256CBCPAD"}} {
		made, err := c.CreateKey(ctx, "oct", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeOct), KeySize: &size}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if *made.Key.Kty != azkeys.KeyTypeOct || made.Key.K != nil || len(made.Key.KeyOps) != 4 {
			t.Errorf("made %+v", made.Key)
		}
		for _, alg := range algorithms {
			in := azkeys.KeyOperationParameters{Algorithm: ptr(azkeys.EncryptionAlgorithm(alg)), Value: []byte("sixteen bytes of"), IV: make([]byte, 16), AdditionalAuthenticatedData: []byte("more")}
			sealed, err := c.Encrypt(ctx, "oct", "", in, nil)
			if err != nil {
				t.Fatal(alg, err)
			}
			in.Value, in.IV, in.AuthenticationTag = sealed.Result, sealed.IV, sealed.AuthenticationTag
			open, err := c.Decrypt(ctx, "oct", "", in, nil)
			if err != nil || string(open.Result) != "sixteen bytes of" {
				t.Errorf("%s: %q, %v", alg, open.Result, err)
			}
			if in.AuthenticationTag != nil {
				in.Value[0] ^= 1
				_, err = c.Decrypt(ctx, "oct", "", in, nil)
				refused(t, alg+" of what was altered", err, 400, "BadParameter")
			}
		}
	}
	// the test vector of RFC 3394, 4.6
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if _, err := c.ImportKey(ctx, "kek", azkeys.ImportKeyParameters{Key: &azkeys.JSONWebKey{Kty: ptr(azkeys.KeyTypeOct), K: unhex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F")}}, nil); err != nil {
		t.Fatal(err)
	}
	key := unhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
	in := azkeys.KeyOperationParameters{Algorithm: ptr(azkeys.EncryptionAlgorithmA256KW), Value: key}
	wrapped, err := c.WrapKey(ctx, "kek", "", in, nil)
	if err != nil || !bytes.Equal(wrapped.Result, unhex("28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21")) {
		t.Errorf("wrapped %x, %v", wrapped.Result, err)
	}
	in.Value = wrapped.Result
	if open, err := c.UnwrapKey(ctx, "kek", "", in, nil); err != nil || !bytes.Equal(open.Result, key) {
		t.Errorf("unwrapped %x, %v", open.Result, err)
	}
	in.Value[3] ^= 1
	_, err = c.UnwrapKey(ctx, "kek", "", in, nil)
	refused(t, "unwrap what was altered", err, 400, "BadParameter")
	_, err = c.Encrypt(ctx, "kek", "", azkeys.KeyOperationParameters{Algorithm: ptr(azkeys.EncryptionAlgorithmRSAOAEP), Value: key}, nil)
	refused(t, "an algorithm of other keys", err, 400, "BadParameter")
	_, err = c.Sign(ctx, "kek", "", azkeys.SignParameters{Algorithm: ptr(azkeys.SignatureAlgorithmES256), Value: key}, nil)
	refused(t, "sign", err, 403, "Forbidden")
	_, err = c.CreateKey(ctx, "odd", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeOct), KeySize: ptr[int32](100)}, nil)
	refused(t, "an odd size", err, 400, "BadParameter")
	_, err = c.CreateKey(ctx, "hsm", azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeOctHSM)}, nil)
	refused(t, "an HSM's key in a standard vault", err, 400, "BadParameter")
	rotated, err := c.RotateKey(ctx, "kek", nil)
	if err != nil || *rotated.Key.Kty != azkeys.KeyTypeOct {
		t.Errorf("rotated %+v, %v", rotated.Key, err)
	}
	if _, err := c.BackupKey(ctx, "kek", nil); err != nil {
		t.Error(err)
	}
}
