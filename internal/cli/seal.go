package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/azimuth-ml/azimuth/internal/home"
	"github.com/azimuth-ml/azimuth/internal/seal"
	"github.com/azimuth-ml/azimuth/internal/server"
)

// Where the key comes from that seals a home's secrets, when it is not in the home.
const (
	sealKeyEnv     = "AZIMUTH_SEAL_KEY"
	sealKeyFileEnv = "AZIMUTH_SEAL_KEY_FILE"
)

// sealKey is the key that the flag names, or the environment; nil is the home's own.
func sealKey(flag string) (seal.Key, error) {
	if flag == "" {
		flag = os.Getenv(sealKeyFileEnv)
	}
	if flag != "" {
		return seal.ReadKey(flag)
	}
	text := os.Getenv(sealKeyEnv)
	if text == "" {
		return nil, nil
	}
	key, err := seal.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sealKeyEnv, err)
	}
	return key, nil
}

// takeSealKey is sealKey for a process that starts others, which have no use for it.
func takeSealKey(flag string) (seal.Key, error) {
	key, err := sealKey(flag)
	if err != nil {
		return nil, err
	}
	if err := os.Unsetenv(sealKeyEnv); err != nil {
		return nil, fmt.Errorf("forget %s: %w", sealKeyEnv, err)
	}
	return key, nil
}

func (a *app) sealCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "seal",
		Short: "The key that encrypts secrets at rest",
		Long: `The key that encrypts secrets at rest: it is in the home's seal.key unless you
keep it yourself and hand it over with --seal-key-file, ` + sealKeyFileEnv + ` or
` + sealKeyEnv + `.`,
		Args: noArgs,
	}
	cmd.AddCommand(a.sealRotateCommand())
	return cmd
}

func (a *app) sealRotateCommand() *cobra.Command {
	var current, next string
	var inHome bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Encrypt everything with new keys; the old one is of no use then",
		Long: `Encrypt everything that is secret in the home with new keys. The server must be
stopped. The new key is made and kept in the home's seal.key; or it is the one in
--new-key-file (32 bytes, or base64 or hexadecimal digits of 32 bytes), which is
yours to keep: the home then has no key in it.

An interruption at any moment loses nothing: either the old key or the new one
opens the home, and the next start finishes.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := a.home()
			if err != nil {
				return err
			}
			if _, err := os.Stat(d.Database()); err != nil {
				return hint(fmt.Errorf("home %s has nothing to encrypt: %w", d, err), "Start a server for it: azimuth up, or azimuth serve.")
			}
			given, err := sealKey(current)
			if err != nil {
				return err
			}
			var to seal.Key
			switch {
			case next != "" && inHome:
				return usagef("--new-key-file and --in-home exclude each other")
			case next != "":
				if to, err = seal.ReadKey(next); err != nil {
					return err
				}
			case given != nil && !inHome:
				return usagef("say where the new key is: --new-key-file FILE, or --in-home to keep one in the home from now on")
			}
			done, err := server.RotateSealKey(cmd.Context(), d, given, to)
			if errors.Is(err, home.ErrLocked) {
				return hint(fmt.Errorf("a server runs for the home %s", d), "Stop it (azimuth stop) and try again.")
			}
			if err != nil {
				return explainSeal(err)
			}
			where := "in " + d.SealKey()
			if to != nil {
				where = "not in the home: hand it over with --seal-key-file, " + sealKeyFileEnv + " or " + sealKeyEnv
			}
			fmt.Fprintf(a.stdout, "everything is encrypted with new keys; the key is %s, %s\n", done.Key, where)
			if done.Damaged > 0 {
				fmt.Fprintf(a.stderr, "warning: %s with values that no key opens; azimuth doctor names them\n", plural(done.Damaged, "record", "records"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&current, "seal-key-file", "", "file with the key that the home has now, if it is not in the home")
	cmd.Flags().StringVar(&next, "new-key-file", "", "file with the new key, which you keep")
	cmd.Flags().BoolVar(&inHome, "in-home", false, "make the new key and keep it in the home")
	cmd.MarkFlagFilename("seal-key-file")
	cmd.MarkFlagFilename("new-key-file")
	return cmd
}

// explainSeal adds what to do to the ways in which the key can be the wrong one.
func explainSeal(err error) error {
	wrong := (*seal.WrongKeyError)(nil)
	const hand = "Hand it over with --seal-key-file, " + sealKeyFileEnv + " or " + sealKeyEnv + "; nothing was changed."
	switch {
	case errors.Is(err, seal.ErrNoKey):
		return hint(err, "Put the file back. If you keep the key yourself: "+hand)
	case errors.As(err, &wrong):
		return hint(err, "Use the right one. "+hand)
	case errors.Is(err, seal.ErrOwnKey):
		return hint(err, "To use yours from now on: azimuth seal rotate --new-key-file FILE, without "+sealKeyFileEnv+" and "+sealKeyEnv+"; nothing was changed.")
	case errors.Is(err, seal.ErrSealed):
		return hint(err, "Put back the seal.key that belongs to this azimuth.db; nothing was changed.")
	}
	return err
}

// absolute makes a path good in another directory, that of the background server.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
