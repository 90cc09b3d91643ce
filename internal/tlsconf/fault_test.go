package tlsconf

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestFaultsOfTheNetworkAreNotThoseOfTLS(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, ""},
		{&net.DNSError{Err: "no such host", Name: "example.org", IsNotFound: true}, ""},
		{fmt.Errorf("TLS: %w", io.EOF), ""},
		{os.ErrDeadlineExceeded, ""},
		{errors.New("tls: server chose an unconfigured cipher suite"), Other},
		{fmt.Errorf("TLS: %w", x509.UnknownAuthorityError{}), UnknownAuthority},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, "refused here: no certificate"},
	} {
		reason, text := Fault(c.err)
		if reason != c.want || (text == "") != (c.want == "") {
			t.Errorf("%v: %q, %q, want %q", c.err, reason, text, c.want)
		}
	}
}
