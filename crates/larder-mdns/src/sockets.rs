//! The sockets: one that everybody's multicast arrives at, and one for each question.
//!
//! The first shares its port with every other program on the machine that takes part in multicast DNS.
//! It is bound to the group's address, so that what is sent to the port of this machine alone goes to
//! whoever else listens there. Questions are asked from a port of their own, to which go-micro, and
//! Larder, send their answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::options::Options;

/// The group of multicast DNS.
pub(crate) const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// As large as a datagram can be.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Room for the answers of many at once.
const RECEIVE_BYTES: usize = 4 << 20;

/// Where everybody listens.
pub(crate) fn group(options: &Options) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(GROUP, options.port))
}

/// The address of the interface; unspecified for the system's choice.
pub(crate) fn interface(options: &Options) -> Ipv4Addr {
    options.interface.unwrap_or(Ipv4Addr::UNSPECIFIED)
}

/// The socket that everybody's multicast arrives at, and that multicast is sent from.
pub(crate) fn listening(options: &Options) -> io::Result<UdpSocket> {
    let socket = multicasting(options)?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    // Not what other programs on this machine have joined the group for on other interfaces.
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    let address = if cfg!(windows) { Ipv4Addr::UNSPECIFIED } else { GROUP };
    socket.bind(&SocketAddrV4::new(address, options.port).into())?;
    socket.join_multicast_v4(&GROUP, &interface(options))?;
    UdpSocket::from_std(socket.into())
}

/// A socket that a question is sent from, and that its answers arrive at.
pub(crate) fn asking(options: &Options) -> io::Result<UdpSocket> {
    let socket = multicasting(options)?;
    socket.bind(&SocketAddrV4::new(interface(options), 0).into())?;
    UdpSocket::from_std(socket.into())
}

fn multicasting(options: &Options) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Some systems give as much as they allow, others refuse what is more: what they gave at first does.
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
    socket.set_multicast_loop_v4(true)?;
    socket.set_multicast_ttl_v4(255)?;
    if let Some(interface) = options.interface {
        socket.set_multicast_if_v4(&interface)?;
    }
    Ok(socket)
}
