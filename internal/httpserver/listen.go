package httpserver

import (
	"context"
	"net"
	"time"
)

// vanishedAfter is how long a connection lives whose other side does not answer
// any more, be it idle or with something on its way. It is longer than a client
// has to take a part of an answer, so that slow ones are not cut by it.
const vanishedAfter = 75 * time.Second

// Listen listens on a TCP address. Connections whose other side does not answer any more end by themselves.
func Listen(address string) (net.Listener, error) {
	how := net.ListenConfig{Control: noticeVanished, KeepAliveConfig: net.KeepAliveConfig{
		Enable:   true,
		Idle:     vanishedAfter / 6,
		Interval: vanishedAfter / 6,
		Count:    5,
	}}
	return how.Listen(context.Background(), "tcp", address)
}
