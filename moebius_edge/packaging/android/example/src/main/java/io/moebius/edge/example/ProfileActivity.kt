package io.moebius.edge.example

import android.app.Activity
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.Bundle
import android.os.PowerManager
import android.util.Log
import android.view.WindowManager
import android.widget.TextView
import io.moebius.edge.FilesIo
import io.moebius.edge.MoebiusException
import io.moebius.edge.ProcessMemory
import io.moebius.edge.Profile
import io.moebius.edge.ort.OrtGraphRunner
import java.io.File
import java.util.Locale
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.concurrent.thread

/**
 * Measures the bundle on this device and writes profile.json (docs/devices.md) into the app's external files:
 *
 *     adb shell am start -n io.moebius.edge.example/.ProfileActivity --ei runs 10 --ei edits 20 --ei steps 20
 *
 * More extras: `--es unit cpu|xnnpack`, `--ei threads N`. Lines with the tag `moebius-profile` say what is measured; the
 * last one is `done`, or `failed: SENTENCE`. The file of an earlier run is deleted first. `app.json` and `model/` in the
 * same folder, if they are there, are measured in the place of the app's own bundle.
 */
class ProfileActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        setContentView(TextView(this).apply { setText(R.string.profiling) })
        if (!running.compareAndSet(false, true)) {
            Log.e(TAG, "failed: a profile is running already; wait until it is done")
            finish()
            return
        }
        val extras = intent
        thread(name = TAG) {
            val failure = try {
                measure(extras)
                null
            } catch (error: MoebiusException) {
                error.message
            } catch (error: OutOfMemoryError) {
                getString(R.string.no_memory)
            } catch (error: Throwable) {
                error.toString().lineSequence().first() // whoever waits for the line must get one
            }
            running.set(false)
            if (failure == null) Log.i(TAG, "done") else Log.e(TAG, "failed: $failure")
            runOnUiThread { finish() }
        }
    }

    private fun measure(extras: Intent) {
        val folder = getExternalFilesDir(null) ?: throw MoebiusException("this device has no external files folder")
        val file = File(folder, "profile.json")
        file.delete() // an old result must not pass for this one
        val setting = setting(extras)
        val model = Model.openPushed(applicationContext, folder)
        val unit = OrtGraphRunner.Unit.valueOf(setting.unit.uppercase(Locale.ROOT))
        OrtGraphRunner(model.bundle, unit, setting.threads).use { runner ->
            setting.engineVersion = runner.version()
            val text = Profile.run(
                model.bundle, model.app, runner, setting, System::nanoTime, Battery(), ProcessMemory(),
            )
            FilesIo.writeAtomically(file.toPath(), text.toByteArray())
        }
    }

    private fun setting(extras: Intent) = Profile.Setting().apply {
        model = Build.MODEL
        system = "Android ${Build.VERSION.RELEASE}"
        chip = if (Build.VERSION.SDK_INT >= 31) "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}" else ""
        unit = extras.getStringExtra("unit") ?: "cpu"
        threads = extras.getIntExtra("threads", 0)
        runs = extras.getIntExtra("runs", runs)
        edits = extras.getIntExtra("edits", edits)
        steps = extras.getIntExtra("steps", 0)
        listener = Profile.Listener { what -> Log.i(TAG, what) }
        if (unit != "cpu" && unit != "xnnpack") throw MoebiusException("unit is $unit; expected cpu or xnnpack")
        if (threads < 0 || threads > 64) throw MoebiusException("threads is $threads; expected 0 to 64")
    }

    /** The battery's temperature, which any app may read, and the system's thermal status. */
    private inner class Battery : Profile.Thermometer {
        override fun celsius(): Double {
            val status = registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))
            val tenths = status?.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, Int.MIN_VALUE) ?: Int.MIN_VALUE
            return if (tenths == Int.MIN_VALUE) Double.NaN else tenths / 10.0
        }

        override fun state(): String = getSystemService(PowerManager::class.java).currentThermalStatus.toString()
    }

    private companion object {
        const val TAG = "moebius-profile"
        val running = AtomicBoolean(false)
    }
}
