// Package tlsconf makes TLS configurations of files: certificates, keys, authorities and lists of revoked certificates.
//
//	Files ──Load──> Set (checked, immutable) ──> *tls.Config
//	                 ↑
//	Current ─────────┘ loads again when a file changes, and keeps the old Set if the new files are wrong
//
// A file is checked before anything uses it: Load tells flag, file and reason of what is wrong with it, and Set.Warnings
// tells what will be wrong with it for somebody else.
package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// File is a file that a flag names.
type File struct {
	Flag string // as users know it, such as --cert-file
	Name string // "": none
}

// Files are the files of one port, or of one side that dials.
type Files struct {
	Cert, Key   File   // the own certificate, with its intermediate ones, and its key; both or none
	Authorities []File // certificates of the authorities that others must have theirs from; all count (T1)
	Revoked     File   // a list of revoked certificates, of one of the authorities
}

// Set is what Files hold. It does not change.
type Set struct {
	Certificate *tls.Certificate    // with its Leaf; nil: none
	Authorities []*x509.Certificate // nil: none were given
	Revoked     *x509.RevocationList
}

// A FileError says what is wrong with a file.
type FileError struct {
	File File
	Err  error
}

// Error is one line with flag, file and reason.
func (e *FileError) Error() string { return fmt.Sprintf("%s %s: %v", e.File.Flag, e.File.Name, e.Err) }

// Unwrap gives the reason.
func (e *FileError) Unwrap() error { return e.Err }

// A MissingError says that a file is missing which another one needs.
type MissingError struct{ Given, Missing File }

// Error names both flags.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s %s needs %s, too", e.Given.Flag, e.Given.Name, e.Missing.Flag)
}

// Load reads and checks all files. The error is a *FileError or a *MissingError.
func (f Files) Load() (*Set, error) {
	s := &Set{}
	switch {
	case f.Cert.Name != "" && f.Key.Name == "":
		return nil, &MissingError{f.Cert, f.Key}
	case f.Cert.Name == "" && f.Key.Name != "":
		return nil, &MissingError{f.Key, f.Cert}
	case f.Cert.Name != "":
		pair, err := loadPair(f.Cert, f.Key)
		if err != nil {
			return nil, err
		}
		s.Certificate = pair
	}
	for _, file := range f.Authorities {
		if file.Name == "" {
			continue
		}
		all, err := loadCertificates(file)
		if err != nil {
			return nil, err
		}
		s.Authorities = append(s.Authorities, all...)
	}
	if f.Revoked.Name != "" {
		list, err := loadRevoked(f.Revoked, s.Authorities)
		if err != nil {
			return nil, err
		}
		s.Revoked = list
	}
	return s, nil
}

// all lists the files that are given.
func (f Files) all() (given []File) {
	for _, file := range append([]File{f.Cert, f.Key, f.Revoked}, f.Authorities...) {
		if file.Name != "" {
			given = append(given, file)
		}
	}
	return given
}
