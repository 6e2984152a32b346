//! A WebSocket client and server that speak all of the protocol.

use super::gateway::Gateway;
use super::is_here;
use super::python::Program;

const LIBRARY: &str = "/usr/lib/python3/dist-packages/websockets/__init__.py";

#[test]
fn a_websocket_client_gets_what_its_server_says() {
    if !is_here(LIBRARY, "python3-websockets") {
        return;
    }
    let program = Program("websocket.py");
    let server = program.serve();
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(dir.path(), server.at(), &[]);
    assert_eq!(program.ask(&gateway.at), "good\n");
}
