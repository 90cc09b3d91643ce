package tlsconf

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// The reasons why a handshake fails, of Explain.
const (
	NoCertificate    = "no certificate"
	UnknownAuthority = "unknown authority"
	Expired          = "expired"
	WrongUsage       = "wrong usage"
	Revoked          = "revoked"
	WrongName        = "wrong name"
	BadCertificate   = "bad certificate"
	PlainHTTP        = "plain HTTP"
	NotTLS           = "not TLS"
	WrongVersion     = "TLS version"
	NothingInCommon  = "nothing in common"
	Closed           = "closed"
	TimedOut         = "timeout"
	Other            = "other"

	refusedPrefix = "refused here: " // the other side refuses what this side shows
)

// Reasons are all that Explain gives. There are few, so that a counter can have one series for each.
func Reasons() (all []string) {
	all = []string{NoCertificate, UnknownAuthority, Expired, WrongUsage, Revoked, WrongName, BadCertificate, PlainHTTP, NotTLS, WrongVersion, NothingInCommon, Closed, TimedOut, Other}
	for _, a := range alerts() {
		if !slices.Contains(all, a.reason) {
			all = append(all, a.reason)
		}
	}
	return all
}

// Explain tells in words why a handshake has failed, what to do about it, and what the certificate of the other side holds.
// With TLS 1.3 the side that connects learns only from its first read that its certificate is refused; that error is
// explained, too. The reason is one of a few words, for counters.
func Explain(err error) (reason string, text string) {
	reason, text = explain(err)
	if leaf := refusedLeaf(err); leaf != nil && !errors.As(err, new(*RefusedError)) {
		text += "; the certificate is that of " + described(leaf)
	}
	return reason, text
}

func explain(err error) (reason, text string) {
	var (
		refused *RefusedError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		remote  *net.OpError
	)
	switch {
	case errors.As(err, &refused):
		return refused.Kind, refused.Error()
	case errors.As(err, &unknown):
		return UnknownAuthority, "none of the authorities that are trusted here has signed the certificate of the other side"
	case errors.As(err, &host):
		return explainHost(host)
	case errors.As(err, &invalid):
		return explainInvalid(invalid)
	case errors.As(err, &record):
		return explainRecord(record)
	case errors.As(err, &remote) && remote.Op == "remote error":
		return explainAlert(remote.Err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return TimedOut, "the handshake took too long"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, context.Canceled),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Closed, "the connection was closed during the handshake"
	}
	return explainText(err)
}

// explainText knows the errors of crypto/tls that have no type.
func explainText(err error) (reason, text string) {
	said := clipped(err.Error(), textMax)
	switch {
	case strings.Contains(said, "client didn't provide a certificate"):
		return NoCertificate, "the other side shows no certificate, and one is demanded here"
	case strings.Contains(said, "HTTP request without TLS"): // the words of http1
		return PlainHTTP, "the other side speaks plain http: this port serves https"
	case strings.Contains(said, "server gave HTTP response to HTTPS client"):
		return PlainHTTP, "the other side speaks plain http, not https: the schemes of the URL and of the listener differ"
	case strings.Contains(said, "unsupported versions") || strings.Contains(said, "protocol version"):
		return WrongVersion, "the other side supports only versions of TLS that are refused here: " + said
	case strings.Contains(said, "no cipher suite supported") || strings.Contains(said, "unsupported application protocols") ||
		strings.Contains(said, "no mutually supported") || strings.Contains(said, "supported by both"):
		return NothingInCommon, "the two sides have no cipher suite or protocol in common: " + said
	case strings.Contains(said, "bad record MAC"):
		return refusedPrefix + BadCertificate, "the other side breaks off the handshake, as clients of OpenSSL do that do not trust the certificate of this side: give them the authority that signed it"
	case strings.Contains(said, "certificate"):
		return BadCertificate, said
	}
	return Other, said
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func explainHost(err x509.HostnameError) (reason, text string) {
	if len(err.Certificate.DNSNames)+len(err.Certificate.IPAddresses) == 0 {
		return WrongName, fmt.Sprintf("the certificate has no subject alternative name, so it is not valid for %q: issue one that names it", clipped(err.Host, nameMax))
	}
	return WrongName, fmt.Sprintf("the certificate is not valid for %q: add that to its subject alternative names, or use one of them in the URL", clipped(err.Host, nameMax))
}

func explainInvalid(err x509.CertificateInvalidError) (reason, text string) {
	switch err.Reason {
	case x509.Expired:
		if leaf := err.Cert; leaf != nil && time.Now().Before(leaf.NotBefore) {
			return Expired, fmt.Sprintf("the certificate is valid only from %s on: look at the clocks of both machines", leaf.NotBefore.UTC().Format(time.RFC3339))
		} else if leaf != nil {
			return Expired, fmt.Sprintf("the certificate expired on %s", leaf.NotAfter.UTC().Format(time.RFC3339))
		}
		return Expired, "the certificate is expired or not valid yet"
	case x509.IncompatibleUsage:
		return WrongUsage, "the certificate lacks the extended key usage " + missingUsage(err.Cert) + ": issue it with extendedKeyUsage=serverAuth,clientAuth"
	}
	return BadCertificate, clipped(err.Error(), textMax)
}

// missingUsage names what a certificate that was refused for its usages may not be used for.
func missingUsage(c *x509.Certificate) string {
	client := c == nil || !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	server := c == nil || !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	switch {
	case client && !server:
		return "clientAuth"
	case server && !client:
		return "serverAuth"
	}
	return "serverAuth or clientAuth"
}

// explainRecord looks at what came instead of TLS.
func explainRecord(err tls.RecordHeaderError) (reason, text string) {
	head := err.RecordHeader[:]
	switch {
	case bytes.HasPrefix(head, []byte("HTTP/")):
		return PlainHTTP, "the other side speaks plain http, not https: the schemes of the URL and of the listener differ"
	case slices.ContainsFunc([]string{"GET ", "HEAD ", "POST ", "PUT ", "DELET", "OPTIO", "PATCH", "PRI *", "CONNE", "TRACE"}, func(method string) bool {
		return bytes.HasPrefix(head, []byte(method))
	}):
		return PlainHTTP, "the other side speaks plain http: this port serves https"
	}
	return NotTLS, "what the other side sends is not TLS"
}

// alert is what the other side says with a number.
type alert struct{ says, reason, text string }

func alerts() []alert {
	const shown = "the other side refuses the certificate of this side: "
	return []alert{
		{"tls: certificate required", refusedPrefix + NoCertificate, "the other side demands a certificate, and this side shows none"},
		{"tls: unknown certificate authority", refusedPrefix + UnknownAuthority, shown + "it does not know the authority that signed it"},
		{"tls: expired certificate", refusedPrefix + Expired, shown + "it is expired or not valid yet"},
		{"tls: revoked certificate", refusedPrefix + Revoked, shown + "it is revoked"},
		{"tls: unsupported certificate", refusedPrefix + WrongUsage, shown + "it may lack the extended key usage clientAuth or serverAuth"},
		{"tls: bad certificate", refusedPrefix + BadCertificate, shown + "there is none, or it lacks an extended key usage (clientAuth, serverAuth), is revoked, or has a name that is not allowed there"},
		{"tls: unknown certificate", refusedPrefix + BadCertificate, shown + "it does not say why"},
		{"tls: protocol version not supported", WrongVersion, "the other side does not support the versions of TLS that are allowed here"},
		{"tls: handshake failure", NothingInCommon, "the other side finds no cipher suite in common, or misses a certificate"},
		{"tls: no application protocol", NothingInCommon, "the other side speaks another protocol, not HTTP"},
	}
}

// explainAlert explains what the other side has sent.
func explainAlert(err error) (reason, text string) {
	said := err.Error()
	for _, a := range alerts() {
		if said == a.says {
			return a.reason, a.text
		}
	}
	return Other, "the other side ends the handshake: " + clipped(said, textMax)
}

// refusedLeaf is the certificate that an error is about.
func refusedLeaf(err error) *x509.Certificate {
	var verification *tls.CertificateVerificationError
	var refused *RefusedError
	switch {
	case errors.As(err, &verification) && len(verification.UnverifiedCertificates) > 0:
		return verification.UnverifiedCertificates[0]
	case errors.As(err, &refused):
		return refused.Leaf
	}
	return nil
}

// What a stranger's certificate adds to a line of the log, at most.
const (
	nameMax  = 80
	namesMax = 8
	textMax  = 300
)

// described says whose a certificate is.
func described(leaf *x509.Certificate) string {
	return fmt.Sprintf("%q, valid for %s, issued by %q", clipped(leaf.Subject.CommonName, nameMax), holders(leaf), clipped(leaf.Issuer.CommonName, nameMax))
}

// holders are the names and addresses that a certificate is valid for.
func holders(leaf *x509.Certificate) string {
	var held []string
	for _, name := range leaf.DNSNames[:min(len(leaf.DNSNames), namesMax)] {
		held = append(held, clipped(name, nameMax))
	}
	for _, ip := range leaf.IPAddresses[:min(len(leaf.IPAddresses), namesMax)] {
		held = append(held, ip.String())
	}
	text := fmt.Sprintf("%q", held)
	if more := len(leaf.DNSNames) + len(leaf.IPAddresses) - len(held); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// clipped is the beginning of a text, in one line.
func clipped(text string, most int) string {
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
