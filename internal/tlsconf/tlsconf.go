// Package tlsconf makes TLS configurations of files: certificates, keys, authorities and lists of revoked certificates.
//
//	Files ──Load──> Set (checked, immutable) ──> *tls.Config ──> Listener   connections that arrive
//	                 ↑                                       └─> Handshake  connections that are made
//	Current ─────────┘ loads again when a file changes, and keeps the old Set if the new files are wrong
//
// A file is checked before anything uses it: Load tells flag, file and reason of what is wrong with it, and Set.Warnings
// tells what will be wrong with it for somebody else. Whom a Current talks to is its Policy.
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
	Revoked     File   // lists of revoked certificates, each of one of the authorities
}

// A Policy says which certificates of others are accepted, beyond those of the authorities. The zero value accepts whoever
// connects, and demands of a listener that is dialled a certificate for its host.
type Policy struct {
	Demanded        bool   // who connects must present a certificate of the authorities
	AllowedName     string // common name that a certificate must have; "": any
	AllowedHost     string // DNS name or address that a certificate must be valid for; "": any
	Unverified      bool   // those that are dialled may have any certificate, such as one that they made themselves
	AddressVerified bool   // a certificate with DNS names or addresses must be valid for the address that its owner connects from (T25)

	MinVersion, MaxVersion uint16   // of TLS; 0: TLS 1.2, and the newest
	CipherSuites           []uint16 // of TLS 1.2; nil: those of Go
}

// Set is what Files hold. It does not change.
type Set struct {
	Certificate *tls.Certificate    // with its Leaf; nil: none
	Authorities []*x509.Certificate // nil: none were given
	Revoked     []*x509.RevocationList

	revoked map[string]bool // by revocation
	held    []Held
}

// Held is a certificate, and the file that has it.
type Held struct {
	File        File
	Certificate *x509.Certificate
}

// Held lists the certificates in use: the own one, and those of the authorities.
func (s *Set) Held() []Held { return s.held }

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
		s.held = append(s.held, Held{f.Cert, pair.Leaf})
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
		for _, c := range all {
			s.held = append(s.held, Held{file, c})
		}
	}
	if f.Revoked.Name != "" {
		lists, err := loadRevoked(f.Revoked, s.Authorities)
		if err != nil {
			return nil, err
		}
		s.revoke(lists)
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
