package value

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
)

// TLS12 is the oldest version of TLS that is spoken.
const TLS12 = tls.VersionTLS12

// tlsVersions are the versions that may be asked for: none is older than TLS 1.2 (T19).
func tlsVersions() map[string]uint16 {
	return map[string]uint16{"TLS1.2": tls.VersionTLS12, "TLS1.3": tls.VersionTLS13}
}

// TLSVersion is a version of TLS; the empty text is 0.
func TLSVersion(p *uint16) Value { return tlsVersionValue{p} }

type tlsVersionValue struct{ p *uint16 }

func (v tlsVersionValue) Set(s string) error {
	version, known := tlsVersions()[s]
	if !known && s != "" {
		return errors.New("not a version of TLS that is allowed")
	}
	*v.p = version
	return nil
}

func (v tlsVersionValue) String() string {
	for name, version := range tlsVersions() {
		if version == *v.p {
			return name
		}
	}
	return ""
}
func (v tlsVersionValue) Type() string    { return "word" }
func (v tlsVersionValue) Allowed() string { return "TLS1.2, TLS1.3" }

// CipherSuites are cipher suites of TLS 1.2, by the names that Go has for them. The order does not matter: Go chooses.
func CipherSuites(p *[]string) Value {
	return List(p, parseCipherSuite, "names of TLS 1.2 suites such as TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, with commas")
}

// CipherSuiteIDs are the numbers of suites whose names were checked.
func CipherSuiteIDs(names []string) (ids []uint16) {
	for _, suite := range tls.CipherSuites() {
		for _, name := range names {
			if suite.Name == name {
				ids = append(ids, suite.ID)
			}
		}
	}
	return ids
}

func parseCipherSuite(name string) (string, error) {
	for _, suite := range tls.CipherSuites() {
		if suite.Name != name {
			continue
		}
		if len(suite.SupportedVersions) == 1 && suite.SupportedVersions[0] == tls.VersionTLS13 {
			return "", fmt.Errorf("%s is a suite of TLS 1.3, of which all are always on", name)
		}
		return name, nil
	}
	for _, suite := range tls.InsecureCipherSuites() {
		if suite.Name == name {
			return "", fmt.Errorf("the TLS cipher suite %s is insecure", name)
		}
	}
	return "", fmt.Errorf("unexpected TLS cipher suite %q; secure ones: %s", name, strings.Join(secureSuites(), ", "))
}

// secureSuites are the names that are allowed.
func secureSuites() (names []string) {
	for _, suite := range tls.CipherSuites() {
		if suite.SupportedVersions[0] != tls.VersionTLS13 {
			names = append(names, suite.Name)
		}
	}
	return names
}
