// Package e2e tries the built program as its users do: real processes, real
// disks, real sockets. Its tests start servers on loopback ports picked at run
// time and stop each one that they have started.
package e2e
