//! A gRPC client and server: HTTP/2 on both sides, streams both ways, a status in the trailers.

use super::gateway::Gateway;
use super::is_here;
use super::python::Program;

const LIBRARY: &str = "/usr/lib/python3/dist-packages/grpc/__init__.py";

#[test]
fn a_grpc_client_gets_what_its_server_says() {
    if !is_here(LIBRARY, "python3-grpcio") {
        return;
    }
    let program = Program("grpc_echo.py");
    let server = program.serve();
    // The two understand each other.
    assert_eq!(program.ask(&server.at().to_string()), "good\n");
    let dir = tempfile::tempdir().unwrap();
    let target = format!("h2c://{}", server.at());
    let gateway = Gateway::with(dir.path(), &["--listen", "127.0.0.1:0", "--primary", &target]);
    assert_eq!(program.ask(&gateway.at), "good\n");
}
