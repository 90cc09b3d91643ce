package tlsconf

import "strings"

// Fault is Explain for an error of a connection that may have nothing to do with TLS: then the reason is "". A connection that
// breaks off during the handshake, or is slow, is a fault of the network or of the other process.
func Fault(err error) (reason, text string) {
	switch reason, text = Explain(err); reason {
	case Closed, TimedOut:
		return "", ""
	case Other:
		if !strings.Contains(err.Error(), "tls: ") {
			return "", ""
		}
	}
	return reason, text
}
