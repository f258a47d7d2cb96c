//! The CRDs and install.yaml on a real API server.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic fails the test"
)]

use anyhow::{Result, ensure};
use slipway_lab::control_plane::{ControlPlane, ControlPlaneOptions};

#[tokio::test]
async fn install_yaml_is_accepted_without_a_warning() -> Result<()> {
    let plane = ControlPlane::start(ControlPlaneOptions::default()).await?;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = plane
        .kubectl()?
        .args(["apply", "--server-side", "-f"])
        .arg(format!("{root}/examples/install.yaml"))
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success() && errors.is_empty(),
        "{errors}\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
    if let Some(path) = std::env::var_os("HOLD") {
        std::fs::write(path, plane.dir().as_os_str().as_encoded_bytes())?;
        tokio::time::sleep(std::time::Duration::from_secs(1200)).await;
    }
    plane.stop().await
}
