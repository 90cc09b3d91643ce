package httpserver

import (
	"encoding/binary"
	"net"
	"time"
)

// HTTP/2 has frames that cost a server work without being a request: pings, settings, resets, headers that are short on
// the wire and long when decompressed. net/http bounds their memory, but not their time: one connection can keep a
// processor busy (R111). So each connection has an allowance, which is larger than a client needs that sends requests as
// fast as they are answered. The server slows a connection that has used up its allowance, and does nothing else to it.
const (
	paceRate  = 4 << 20      // weight of a connection's frames in a second
	paceBurst = paceRate / 8 // weight at once; small, since a client may open a new connection
	paceMax   = time.Second  // the longest pause

	weighMuch   = 2 << 10 // a frame that causes work: 2048 of them in a second
	headerSmall = 64      // bytes of a header that count once; further ones count four times
	weighLittle = 64      // a frame that comes with the bodies of answers and requests
)

const (
	preface          = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeaderBytes = 9
)

// The types of frames that have weights of their own, numbered by RFC 9113, section 6.
const (
	frameData         = 0
	frameHeaders      = 1
	frameWindowUpdate = 8
	frameContinuation = 9
)

// pace measures what a client sends. The goroutine that reads uses it.
type pace struct {
	plain   bool // this is not HTTP/2, and is not measured
	matched int  // bytes of the preface that have come

	header [frameHeaderBytes]byte // of the frame that comes next
	have   int                    // bytes of it
	rest   int                    // bytes of the present frame that are still to come

	data bool // there was a DATA frame
	used int  // of the allowance, at the time at
	at   time.Time
}

// follow measures the next bytes, and gives the pause that is due.
func (p *pace) follow(b []byte) time.Duration {
	for len(b) > 0 && p.matched < len(preface) {
		if b[0] != preface[p.matched] {
			p.plain = true
			return 0
		}
		p.matched++
		b = b[1:]
	}
	weight := 0
	for len(b) > 0 {
		if skipped := min(p.rest, len(b)); skipped > 0 {
			p.rest -= skipped
			b = b[skipped:]
			continue
		}
		taken := copy(p.header[p.have:], b)
		p.have += taken
		b = b[taken:]
		if p.have == frameHeaderBytes {
			p.have = 0
			p.rest = int(binary.BigEndian.Uint32(p.header[:4]) >> 8)
			weight += weigh(p.header[3], p.rest)
			p.data = p.data || p.header[3] == frameData
		}
	}
	if weight == 0 {
		return 0
	}
	return p.charge(weight, time.Now())
}

// weigh gives the weight of a frame.
func weigh(kind byte, length int) int {
	switch kind {
	case frameHeaders, frameContinuation:
		return frameHeaderBytes + length + 3*max(0, length-headerSmall)
	case frameData, frameWindowUpdate:
		return weighLittle
	default:
		return weighMuch
	}
}

// charge takes a weight from the allowance, and gives the time until it is covered.
func (p *pace) charge(weight int, now time.Time) time.Duration {
	regained := min(now.Sub(p.at).Seconds()*paceRate, float64(p.used))
	p.used += weight - int(regained)
	p.at = now
	return min(time.Duration(p.used-paceBurst)*time.Second/paceRate, paceMax)
}

// isHTTP2 tells whether the client has sent the preface of HTTP/2.
func (p *pace) isHTTP2() bool { return p.matched == len(preface) }

// Read reads from the connection, at the permitted pace. It fails if there is no memory for what it has read.
func (c *budgetConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 || c.encrypted {
		return n, err
	}
	if full := c.received(b[:n]); full != nil {
		return 0, full
	}
	return n, err
}

// received counts what a client has sent, and waits until its pace permits more.
func (c *budgetConn) received(b []byte) error {
	if !c.pace.plain {
		if pause := c.pace.follow(b); pause > 0 {
			time.Sleep(pause)
		}
	}
	return c.count(b)
}

// decrypted gives what http1 calls with the bytes of a connection with TLS, since only those are requests; nil: the
// connection has no Budget.
func decrypted(nc net.Conn) func([]byte) error {
	c, ok := within[*budgetConn](nc)
	if !ok {
		return nil
	}
	c.encrypted = true
	return c.received
}
