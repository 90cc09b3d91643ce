package httpserver

import (
	"context"
	"net"
	"time"
)

// vanishedAfter is how long a connection stays open when its other side does not answer any more, whether it is idle or
// has unacknowledged data. It is longer than a client may take for a piece of an answer, so that it does not cut slow ones.
const vanishedAfter = 75 * time.Second

// Listen listens on a TCP address. A connection whose other side has vanished is closed after vanishedAfter.
func Listen(address string) (net.Listener, error) {
	how := net.ListenConfig{Control: noticeVanished, KeepAliveConfig: net.KeepAliveConfig{
		Enable:   true,
		Idle:     vanishedAfter / 6,
		Interval: vanishedAfter / 6,
		Count:    5,
	}}
	return how.Listen(context.Background(), "tcp", address)
}
