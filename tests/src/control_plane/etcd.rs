//! What a test does to etcd: it stands still, and it forgets.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{ControlPlane, kubeconfig};

impl ControlPlane {
    /// Freezes etcd: nothing can be written and nothing read at quorum, as without a majority.
    pub async fn suspend_etcd(&mut self) -> Result<()> {
        let etcd = self.etcd.as_mut().context("etcd does not run")?;
        etcd.suspend().await
    }

    /// Lets a frozen etcd go on, and waits until the API server serves.
    pub async fn resume_etcd(&mut self) -> Result<()> {
        let etcd = self.etcd.as_mut().context("etcd does not run")?;
        etcd.resume()?;
        self.wait_ready().await
    }

    /// Makes etcd forget every state but the present one; a watch that begins in the past is told so.
    pub async fn compact_etcd(&self) -> Result<()> {
        let present = self.ask_etcd("range", &json!({ "key": "AA==" })).await?;
        let revision = present
            .pointer("/header/revision")
            .and_then(Value::as_str)
            .with_context(|| format!("etcd says no revision: {present}"))?;
        let compaction = json!({ "revision": revision, "physical": true });
        self.ask_etcd("compaction", &compaction).await?;
        Ok(())
    }

    /// A call through etcd's gateway, which speaks JSON.
    async fn ask_etcd(&self, call: &str, body: &Value) -> Result<Value> {
        kubeconfig::install_crypto_provider();
        let url = format!("http://127.0.0.1:{}/v3/kv/{call}", self.ports.etcd_client);
        let request = reqwest::Client::new().post(url).body(body.to_string());
        let answer = request.send().await.context("etcd does not answer")?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "etcd says {status}: {text}");
        serde_json::from_str(&text).context("etcd's answer cannot be read")
    }
}
