package rafthttp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"canopy/raft"
	"canopy/rafthttp/wire"
)

const (
	headStart       = 250 * time.Millisecond // of one URL before the next is tried as well (R41)
	answerBytesMax  = 64 << 10               // of the headers of an answer to a handshake
	pongBufferBytes = 512
)

// dialTimeout bounds connecting and the handshake, each.
func (t *Transport) dialTimeout() time.Duration { return time.Second + t.o.Election/5 }

// dialStream connects to a peer for one lane. It tries preferred first, and gives the URL that succeeded.
func (t *Transport) dialStream(ctx context.Context, to target, lane laneKind, preferred string) (*stream, string, error) {
	var s *stream
	url, err := t.reach(ctx, to.urls, preferred, func(conn net.Conn, host string) error {
		frames, err := t.handshake(ctx, conn, host, to, lane)
		if err == nil {
			if p := t.peer(to.id); p != nil {
				p.recordAddress(conn.RemoteAddr())
			}
			s = newStream(conn, frames)
		}
		return err
	})
	return s, url, err
}

// reach connects to the URLs of a peer until talk returns nil for a connection; talk then owns that connection.
func (t *Transport) reach(ctx context.Context, urls []string, preferred string, talk func(conn net.Conn, host string) error) (string, error) {
	left := slices.Clone(urls)
	if i := slices.Index(left, preferred); i > 0 {
		left[0], left[i] = left[i], left[0]
	}
	first := errors.New("it has no URLs")
	for tried := 0; len(left) > 0; tried++ {
		conn, url, err := t.race(ctx, left)
		if err == nil {
			if err = talk(conn, hostOf(url)); err == nil {
				return url, nil
			}
			closeNow(conn)
		}
		if tried == 0 || errors.As(err, new(*Refusal)) {
			first = err
		}
		if url == "" {
			break
		}
		left = slices.DeleteFunc(left, func(u string) bool { return u == url })
	}
	return "", first
}

// dialed is the outcome of one URL.
type dialed struct {
	conn net.Conn
	url  string
	err  error
}

// race connects to the first of some URLs, and also to the next ones if that fails or takes long. The first connection wins;
// without one, the error is that of the first URL, and no URL is named.
func (t *Transport) race(ctx context.Context, urls []string) (net.Conn, string, error) {
	ctx, cancel := context.WithTimeout(ctx, t.dialTimeout())
	defer cancel()
	results := make(chan dialed, len(urls)) // room for each, so that no sender waits
	next, running := 0, 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	var won dialed
	var first error
	for {
		select {
		case <-timer.C:
			if next < len(urls) && won.conn == nil {
				go func(u string) { results <- t.dialURL(ctx, u) }(urls[next])
				next++
				running++
				timer.Reset(headStart)
			}
			continue
		case r := <-results:
			running--
			switch {
			case r.err == nil && won.conn == nil:
				won = r
				cancel()
			case r.err == nil:
				closeNow(r.conn) // two connections at the same time
			default:
				if first == nil {
					first = r.err
				}
				timer.Reset(0)
			}
		}
		if running > 0 {
			continue
		}
		if won.conn != nil {
			return won.conn, won.url, nil
		}
		if next == len(urls) || ctx.Err() != nil {
			return nil, "", first
		}
	}
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

func (t *Transport) dialURL(ctx context.Context, raw string) dialed {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return dialed{err: fmt.Errorf("%.200q is no http URL", raw)}
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), defaultPorts[u.Scheme])
	}
	conn, err := t.o.Dial(ctx, "tcp", address)
	if err == nil && u.Scheme == "https" {
		conn, err = t.secure(ctx, conn, u.Hostname())
	}
	return dialed{conn, raw, err}
}

// hostOf is the Host header. The URL has been dialled, so it is valid.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// handshake begins a stream on a connection.
func (t *Transport) handshake(ctx context.Context, conn net.Conn, host string, to target, lane laneKind) (wire.Reader, error) {
	stop := context.AfterFunc(ctx, func() { closeNow(conn) })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(t.dialTimeout())); err != nil {
		return wire.Reader{}, err
	}
	header := t.requestHeader(to)
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", upgradeToken)
	header.Set(wire.HeaderLane, lane.String())
	if err := writeRequest(conn, "GET", streamPath, host, header); err != nil {
		return wire.Reader{}, lastWords(conn, err)
	}
	limited := &io.LimitedReader{R: conn, N: answerBytesMax}
	r := bufio.NewReaderSize(limited, pongBufferBytes)
	answer, err := http.ReadResponse(r, &http.Request{Method: "GET"})
	if err != nil {
		return wire.Reader{}, fmt.Errorf("no answer to the handshake: %w", err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return wire.Reader{}, t.refusedBy(to, answer)
	}
	if err := t.checkAnswer(to, answer.Header); err != nil {
		return wire.Reader{}, err
	}
	limited.N = math.MaxInt64
	return wire.NewReader(r), conn.SetDeadline(time.Time{})
}

// requestHeader is the header of a handshake.
func (t *Transport) requestHeader(to target) http.Header {
	header := http.Header{}
	h := t.newHello(to.id, to.incarnation)
	h.Write(header)
	if urls := t.o.PeerURLs(); len(urls) > 0 {
		header.Set(wire.HeaderPeerURLs, strings.Join(urls, ","))
	}
	return header
}

func writeRequest(w io.Writer, method, path, host string, header http.Header) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	if err := header.Write(&b); err != nil {
		return err
	}
	b.WriteString("\r\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// checkAnswer checks the headers of the other side. The error is a *Refusal of this side.
func (t *Transport) checkAnswer(to target, header http.Header) error {
	answer, err := wire.ParseHello(header)
	if err != nil {
		return err
	}
	if refusal := t.checkAcceptor(&answer, to); refusal != nil {
		t.o.Observer.refused(to.id, refusal.Reason)
		t.journal.warn(subject{to.id, refusal.Reason.String()}, "refused to talk to %s: %v", to.title(), refusal)
		return refusal
	}
	if answer.Election != t.o.Election || answer.Heartbeat != t.o.Heartbeat {
		t.journal.warn(subject{to.id, "times"}, "member %s has a heartbeat of %v and an election time-out of %v, this one of %v and %v: they should be the same",
			to.title(), answer.Heartbeat, answer.Election, t.o.Heartbeat, t.o.Election)
	}
	return nil
}

// refusedBy tells why another member refuses this one. The claim that this member was removed only goes to the owner, and only
// if it comes from the member that was dialled.
func (t *Transport) refusedBy(to target, answer *http.Response) error {
	err := readRefusal(answer.Status, answer.Body)
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	t.journal.warnAfter(refusal.Reason.grace(), subject{to.id, "by " + refusal.Reason.String()}, "%s refuses to talk to this member: %v", to.title(), refusal)
	if h, err := wire.ParseHello(answer.Header); refusal.Reason == Removed && err == nil && h.From == to.id && h.Cluster == t.o.Self.Cluster {
		t.o.Owner.Removed(raft.MemberID(to.id), refusal.Term, refusal.Index)
	}
	return refusal
}
