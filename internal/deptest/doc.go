// Package deptest holds the tests of the code's own shape: which package may
// import which, and the habits that every package keeps.
package deptest
